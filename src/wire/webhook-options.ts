// The command line of galaxy-webhook. Text in, options and problems out.

import { formatFlags, parseFlags } from "./flags.ts";

/** What the command line says. */
export type WebhookOptions = {
  readonly kubeconfig: string;
  readonly master: string;
  readonly bindAddress: string;
  readonly port: number;
  readonly namespace: string;
  readonly secretName: string;
  /** Names that the API server calls the webhook by. */
  readonly serverNames: readonly string[];
  /** Name of the ValidatingWebhookConfiguration and of the MutatingWebhookConfiguration; "" when there is none of that kind. */
  readonly validating: string;
  readonly mutating: string;
  /** How often certificates are looked at. */
  readonly renewMs: number;
  readonly verbosity: number;
};

/** Outcome of reading the command line. */
export type WebhookOptionsParse =
  | { readonly kind: "options"; readonly options: WebhookOptions }
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "version" }
  | { readonly kind: "invalid"; readonly problems: readonly string[] };

const table = {
  kubeconfig: {
    initial: "",
    help: "kubeconfig file; without it and --master the service account of the pod is used",
  },
  master: { initial: "", help: "URL of the API server; overrides the kubeconfig" },
  bind: { initial: "0.0.0.0", help: "address to listen on: the API server calls" },
  port: { initial: "9443", help: "port to listen on, always with TLS; 0: a free one" },
  namespace: {
    initial: "",
    help: "namespace of the Secret and of the Service; without it $POD_NAMESPACE, else kube-system",
  },
  secret: {
    initial: "galaxy-webhook",
    help: "Secret in which the replicas share the certificates that they make",
  },
  service: { initial: "galaxy-webhook", help: "Service by which the API server calls" },
  "server-names": {
    initial: "",
    help: "further names or addresses that the API server calls it by, with commas",
  },
  "validating-configuration": {
    initial: "galaxy-webhook",
    help: "ValidatingWebhookConfiguration that is told whom to trust; empty: there is none",
  },
  "mutating-configuration": {
    initial: "galaxy-webhook",
    help: "MutatingWebhookConfiguration that is told whom to trust; empty: there is none",
  },
  "renew-interval": {
    initial: "60",
    help: "seconds between looks at the certificates, at most 100: what the replicas share must be known before it is needed",
  },
  v: { initial: "0", help: "how much to log: 4 and above is everything" },
} as const;

const about =
  "Warns of workloads whose pods would wait for float IPs, and mends the rolling update of those that ask for it.";

/** Reads the command line. @param podNamespace $POD_NAMESPACE, "" when it is not set */
export function parseWebhookOptions(
  argv: readonly string[],
  podNamespace: string,
): WebhookOptionsParse {
  const parsed = parseFlags("galaxy-webhook", table, argv);
  if (parsed.kind === "help") {
    return { kind: "help", text: formatFlags("galaxy-webhook", about, table) };
  }
  if (parsed.kind !== "flags") return parsed;
  const { values } = parsed;
  const problems: string[] = [];
  const number = (name: keyof typeof table, least: number, most: number) => {
    const value = Number(values[name]);
    if (values[name].trim() === "" || !(value >= least && value <= most)) {
      problems.push(`--${name}=${values[name]}: write a number from ${least} to ${most}`);
    }
    return value;
  };
  const port = number("port", 0, 65_535);
  const renewMs = number("renew-interval", 0.1, 100) * 1_000;
  const verbosity = number("v", 0, 10);
  const written = values.namespace === "" ? podNamespace : values.namespace;
  const namespace = written === "" ? "kube-system" : written;
  for (const name of ["secret", "service"] as const) {
    if (values[name] === "") problems.push(`--${name} is empty; give the object's name`);
  }
  const service = `${values.service}.${namespace}.svc`;
  const further = values["server-names"].split(",").map((name) => name.trim());
  return problems.length > 0
    ? { kind: "invalid", problems }
    : {
        kind: "options",
        options: {
          kubeconfig: values.kubeconfig,
          master: values.master,
          bindAddress: values.bind,
          port,
          namespace,
          secretName: values.secret,
          serverNames: [service, ...further.filter((name) => name !== "")],
          validating: values["validating-configuration"],
          mutating: values["mutating-configuration"],
          renewMs,
          verbosity,
        },
      };
}
