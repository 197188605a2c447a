// galaxy-webhook on a real API server, with the rights of deploy/components/webhook and no others: warnings, the mended rolling update, its own
// certificates, and that nothing is lost while it is away.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { parseAllDocuments } from "yaml";
import { waitUntil } from "../control-plane/api.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import type { ChildProgram } from "../control-plane/child-program.ts";
import {
  freePort,
  removeAtExit,
  startProgram,
  waitForProgram,
} from "../control-plane/child-program.ts";
import { type ControlPlane, startControlPlane } from "../control-plane/control-plane.ts";
import type { Deployment, Kind, KubeObject, Manifest } from "../control-plane/kinds.ts";
import { deployments } from "../control-plane/kinds.ts";
import { aDeployment, aStatefulSet } from "../control-plane/manifests.ts";
import { logLinesOf } from "../control-plane/program-log.ts";

const skip = await reasonToSkip();
const root = fileURLToPath(new URL("../..", import.meta.url));
/** With the name of the ServiceAccount of the manifests. */
const user = "system:serviceaccount:kube-system:galaxy-webhook";

type Configuration = KubeObject & {
  readonly webhooks: readonly { readonly clientConfig: { readonly caBundle?: string } }[];
};
const configurations: Kind<Configuration> = {
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "ValidatingWebhookConfiguration",
  plural: "validatingwebhookconfigurations",
  namespaced: false,
};
type Secret = KubeObject & { readonly data: Readonly<Record<string, string>> };
const secrets: Kind<Secret> = {
  apiVersion: "v1",
  kind: "Secret",
  plural: "secrets",
  namespaced: true,
};
const shared = { name: "galaxy-webhook", namespace: "kube-system" };

describe("galaxy-webhook on a real API server", { skip }, () => {
  let plane: ControlPlane;
  let folder: string;
  let ports: readonly [number, number];
  const programs: ChildProgram[] = [];

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "galaxy-webhook-"));
    removeAtExit(folder);
    plane = await startControlPlane({
      hasControllers: false,
      users: [{ name: user, groups: ["system:serviceaccounts", "system:authenticated"] }],
    });
    ports = [await freePort(), await freePort()];
    await applyManifests("roles.yaml");
  });

  after(async () => {
    for (const program of programs) await program.stop();
    await plane?.stop();
  });

  /** Applies a manifest of the component; API servers reach the program by URL here, where no Service leads anywhere. */
  async function applyManifests(file: string, port = ports[0]): Promise<void> {
    const text = readFileSync(join(root, "deploy/components/webhook", file), "utf8");
    for (const document of parseAllDocuments(text)) {
      const manifest = document.toJS() as Manifest & {
        readonly webhooks?: readonly { clientConfig: { service: { path: string } } }[];
      };
      const webhooks = manifest.webhooks?.map((webhook) => ({
        ...webhook,
        // A machine that is slow would go on without the words that the tests ask for.
        timeoutSeconds: 30,
        // Away from the program, the API server goes on at once rather than after seconds.
        clientConfig: { url: `https://127.0.0.1:${port}${webhook.clientConfig.service.path}` },
      }));
      await plane.api.apply({ ...manifest, ...(webhooks === undefined ? {} : { webhooks }) });
    }
  }

  const until = (what: string, holds: () => Promise<boolean>) => waitUntil(what, holds, Boolean);

  async function startWebhook(port: number, flags: readonly string[] = []): Promise<ChildProgram> {
    const program = startProgram({
      name: `galaxy-webhook ${programs.length}`,
      file: process.execPath,
      args: [
        join(root, "src/bin/galaxy-webhook.ts"),
        "--kubeconfig",
        plane.kubeconfigOf(user),
        `--port=${port}`,
        "--bind=127.0.0.1",
        "--server-names=127.0.0.1",
        "--renew-interval=0.2",
        "--v=4",
        ...flags,
      ],
      logFile: join(folder, `${programs.length}.log`),
    });
    programs.push(program);
    return program;
  }

  const serves = (program: ChildProgram) =>
    waitForProgram(program, async () =>
      logLinesOf(program.logFile).some(({ message }) => message === "certificate served"),
    );

  /** Applies as kubectl does, and gives the warnings that it would print. */
  async function warningsOf(
    method: "POST" | "PUT",
    manifest: Manifest,
  ): Promise<readonly string[]> {
    const plural = `${manifest.kind.toLowerCase()}s`;
    const name = method === "PUT" ? `/${manifest.metadata.name}` : "";
    return new Promise((resolve, reject) => {
      const call = request(
        `${plane.url}/apis/apps/v1/namespaces/default/${plural}${name}`,
        {
          method,
          ca: readFileSync(plane.caFile),
          headers: {
            authorization: `Bearer ${plane.tokenOf("admin")}`,
            "content-type": "application/json",
          },
        },
        (answer) => {
          answer.resume();
          answer.once("end", () => {
            const header = answer.headers["warning"];
            const texts =
              typeof header === "string" ? header.matchAll(/299 - "((?:[^"\\]|\\.)*)"/g) : [];
            const status = answer.statusCode ?? 0;
            if (status >= 300) reject(new Error(`answered ${status}`));
            else resolve([...texts].map(([, text = ""]) => text.replaceAll(/\\(.)/g, "$1")));
          });
        },
      );
      call.once("error", reject);
      call.end(JSON.stringify(manifest));
    });
  }

  const bundle = async () => {
    const [webhook] = (await plane.api.get(configurations, { name: shared.name }))?.webhooks ?? [];
    return webhook?.clientConfig.caBundle;
  };

  test("wrong flags and a kubeconfig that is not there are named in a line each, and end it with 2 and 1", async () => {
    const [unknown, wrong, kubeconfig] = await Promise.all([
      endOf(["--prot=1"]),
      endOf(["--port=many", "--renew-interval=never"]),
      endOf(["--kubeconfig=/nowhere/config"]),
    ]);
    assert.deepEqual(unknown, {
      code: 2,
      text: "galaxy-webhook: --prot is no flag of galaxy-webhook; see --help\n",
    });
    assert.equal(wrong.code, 2);
    assert.match(
      wrong.text,
      /^galaxy-webhook: --port=many: write a number from .*\ngalaxy-webhook: --renew-interval=never: write a number from .*\n$/,
    );
    assert.equal(kubeconfig.code, 1);
    assert.match(kubeconfig.text, /^galaxy-webhook: .*\/nowhere\/config.*check the path.*\n$/);
  });

  test("without its configurations it says what to apply, and goes on when they are there", async () => {
    const program = await startWebhook(ports[0]);
    await until("the program to say what is missing", async () =>
      logLinesOf(program.logFile).some((line) =>
        String(line["reason"]).includes(
          "ValidatingWebhookConfiguration galaxy-webhook: it does not exist; apply deploy/components/webhook",
        ),
      ),
    );
    await applyManifests("configurations.yaml");
    await serves(program);
    assert.ok(((await bundle()) ?? "") !== "");
  });

  test("kubectl prints the scheduler's words about a rolling update that waits for ever", async () => {
    const [warning, ...others] = await warningsOf(
      "POST",
      aDeployment({ name: "stuck", replicas: 3, policy: "immutable" }),
    );
    assert.match(
      warning ?? "",
      /^a rolling update of Deployment default\/stuck waits for ever: maxUnavailable 25% of 3 replicas rounds down to 0/,
    );
    assert.match(warning ?? "", /galaxy\.k8s\.io\/fix-rollout: "true"$/);
    assert.deepEqual(others, []);
    const many = aDeployment({ name: "many", replicas: 10, policy: "immutable" });
    assert.deepEqual(await warningsOf("POST", many), []);
    assert.deepEqual(await warningsOf("POST", aStatefulSet({ name: "set", policy: "never" })), []);
  });

  test("the rolling update of who asks for it is mended, when it is made and when it changes", async () => {
    const wish = aDeployment({ name: "mended", replicas: 10, policy: "immutable" });
    const asking = {
      ...wish,
      metadata: { ...wish.metadata, annotations: { "galaxy.k8s.io/fix-rollout": "true" } },
    };
    assert.deepEqual(await warningsOf("POST", asking), []);
    const strategyOf = async () =>
      (
        (await plane.api.get<Deployment>(deployments, { name: "mended", namespace: "default" }))
          ?.spec as { readonly strategy?: { readonly rollingUpdate?: unknown } }
      )?.strategy?.rollingUpdate;
    // With ten replicas 25 % is enough, and nothing is touched.
    assert.deepEqual(await strategyOf(), { maxSurge: "25%", maxUnavailable: "25%" });
    const smaller = { ...asking, spec: { ...specOf(asking), replicas: 2 } };
    assert.deepEqual(await warningsOf("PUT", smaller), []);
    assert.deepEqual(await strategyOf(), { maxSurge: 0, maxUnavailable: 1 });
  });

  test("annotations in the wrong place or with the wrong words are named", async () => {
    const wish = aDeployment({ name: "misplaced", replicas: 1 });
    const [first, second, ...others] = await warningsOf("POST", {
      ...wish,
      metadata: {
        ...wish.metadata,
        annotations: {
          "k8s.v1.cni.galaxy.io/release-policy": "immutable",
          "galaxy.k8s.io/fix-rollout": "yes",
        },
      },
    });
    assert.match(first ?? "", /release-policy has no effect on the workload itself; move it to/);
    assert.match(second ?? "", /fix-rollout: "yes" is neither "true" nor "false"/);
    assert.deepEqual(others, []);
  });

  test("two replicas share one certificate; lost ones are made anew, and both serve it", async () => {
    const second = await startWebhook(ports[1]);
    await serves(second);
    const made = await bundle();
    await plane.api.delete(secrets, shared);
    await until("a new authority", async () => ![undefined, made].includes(await bundle()));
    const kept = await plane.api.get(secrets, shared);
    assert.equal(await bundle(), kept?.data["ca.crt"]);
    for (const port of ports) {
      await until(`port ${port} to serve the certificate of the new authority`, async () =>
        isTrusted(port, Buffer.from(kept?.data["ca.crt"] ?? "", "base64").toString()),
      );
    }
  });

  test("while it is away workloads are applied without a word", async () => {
    for (const program of programs) await program.stop();
    const away = aDeployment({ name: "away", replicas: 2, policy: "immutable" });
    assert.deepEqual(await warningsOf("POST", away), []);
    const back = await startWebhook(ports[0]);
    await serves(back);
    const again = aDeployment({ name: "back", replicas: 2, policy: "immutable" });
    await until("warnings again", async () => {
      const warnings = await warningsOf("POST", again);
      await plane.api.delete(deployments, { name: "back", namespace: "default" });
      return warnings.length === 1;
    });
  });

  for (const { kind, verb, resource } of grants()) {
    test(`without the right to ${verb} ${resource} it says so and runs on, and goes on when its ${kind} has it again`, async () => {
      const disturb = disturbances[`${verb} ${resource}`];
      assert.ok(disturb !== undefined, `nothing here needs ${verb} on ${resource}`);
      const at = kind === "Role" ? shared : { name: shared.name };
      const role = await plane.api.get(roleKinds[kind], at);
      assert.ok(role !== undefined);
      await plane.api.patch(roleKinds[kind], at, {
        rules: role.rules.flatMap((rule) => {
          if (!rule.resources.includes(resource)) return [rule];
          const others = rule.resources.filter((one) => one !== resource);
          const verbs = rule.verbs.filter((one) => one !== verb);
          return [
            ...(others.length === 0 ? [] : [{ ...rule, resources: others }]),
            ...(verbs.length === 0 ? [] : [{ ...rule, resources: [resource], verbs }]),
          ];
        }),
      });
      await disturb();
      const { text } = await waitUntil(
        "health to name what it may not",
        healthOfFirst,
        (seen) => seen.status === 503 && seen.text.includes(`cannot ${verb}`),
      );
      assert.match(
        text,
        new RegExp(
          `"${user}" cannot ${verb} resource "${resource}" .*; grant it in the program's ClusterRole or Role`,
        ),
      );
      assert.doesNotMatch(text.trim(), /\n/);
      await plane.api.patch(roleKinds[kind], at, { rules: role.rules });
      await until("health to be good again", async () => (await healthOfFirst()).status === 200);
    });
  }

  const healthOfFirst = () =>
    new Promise<{ readonly status: number; readonly text: string }>((resolve, reject) => {
      const call = request(
        {
          host: "127.0.0.1",
          port: ports[0],
          path: "/healthy",
          agent: false,
          rejectUnauthorized: false,
        },
        (answer) => {
          let text = "";
          answer.setEncoding("utf8").on("data", (piece: string) => {
            text += piece;
          });
          answer.once("end", () => resolve({ status: answer.statusCode ?? 0, text }));
        },
      );
      call.once("error", reject);
      call.end();
    });

  /** What makes the program use a right; every rule of its roles has to be here. */
  const disturbances: Readonly<Record<string, () => Promise<unknown>>> = {
    "create secrets": () => plane.api.delete(secrets, shared),
    "get secrets": async () => {},
    "update secrets": () => plane.api.patch(secrets, shared, { data: { "tls.crt": "" } }),
    "get validatingwebhookconfigurations": async () => {},
    "get mutatingwebhookconfigurations": async () => {},
    "patch validatingwebhookconfigurations": () => distrust(configurations),
    "patch mutatingwebhookconfigurations": () =>
      distrust({
        ...configurations,
        kind: "MutatingWebhookConfiguration",
        plural: "mutatingwebhookconfigurations",
      }),
  };

  /** API servers are told to trust nobody. */
  async function distrust(kind: Kind<Configuration>): Promise<void> {
    const { webhooks = [] } = (await plane.api.get(kind, { name: shared.name })) ?? {};
    await plane.api.patch(
      kind,
      { name: shared.name },
      {
        webhooks: webhooks.map((webhook) => {
          const { caBundle: _trusted, ...clientConfig } = webhook.clientConfig;
          return { ...webhook, clientConfig };
        }),
      },
    );
  }
});

type Role = KubeObject & {
  readonly rules: readonly { readonly resources: string[]; readonly verbs: string[] }[];
};
const rbac = "rbac.authorization.k8s.io/v1";
const roleKinds: Readonly<Record<"Role" | "ClusterRole", Kind<Role>>> = {
  Role: { apiVersion: rbac, kind: "Role", plural: "roles", namespaced: true },
  ClusterRole: { apiVersion: rbac, kind: "ClusterRole", plural: "clusterroles", namespaced: false },
};

/** What the roles of the component grant, one verb on one resource each. */
function grants(): readonly {
  readonly kind: "Role" | "ClusterRole";
  readonly verb: string;
  readonly resource: string;
}[] {
  const text = readFileSync(join(root, "deploy/components/webhook/roles.yaml"), "utf8");
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Role)
    .flatMap(({ kind, rules }) =>
      kind === "Role" || kind === "ClusterRole"
        ? rules.flatMap(({ resources, verbs }) =>
            resources.flatMap((resource) => verbs.map((verb) => ({ kind, verb, resource }))),
          )
        : [],
    );
}

/** How a run of the program ended that is not to start. */
function endOf(
  args: readonly string[],
): Promise<{ readonly code: unknown; readonly text: string }> {
  const program = join(root, "src/bin/galaxy-webhook.ts");
  return promisify(execFile)(process.execPath, [program, ...args], { timeout: 120_000 }).then(
    () => ({ code: 0, text: "" }),
    (error: unknown) => {
      const { code, stderr } = error as { readonly code: unknown; readonly stderr: string };
      return { code, text: stderr };
    },
  );
}

function specOf(manifest: object): object {
  return (manifest as { readonly spec: object }).spec;
}

/** Whether a client that trusts `ca` alone accepts the server at this port. */
function isTrusted(port: number, ca: string): Promise<boolean> {
  return new Promise((resolve) => {
    const call = request(
      { host: "127.0.0.1", port, path: "/readyz", ca, agent: false },
      (answer) => {
        answer.resume();
        resolve(answer.statusCode === 200);
      },
    );
    call.once("error", () => resolve(false));
    call.end();
  });
}
