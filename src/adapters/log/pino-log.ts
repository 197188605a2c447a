// The Log port on pino: one JSON object a line. Keeps secrets out of it. Not the place for deciding what is worth a line.

import type { DestinationStream } from "pino";
import { destination, pino, stdTimeFunctions } from "pino";
import type { Log, LogFields } from "../../ports/log.ts";

/** Where and how much to log. */
export type PinoLogOptions = {
  /** klog's `--v`: below 0 warnings and errors only, 0 to 3 also changes of addresses, 4 and above everything. */
  readonly verbosity: number;
  /** Standard error when absent, as klog with `--logtostderr`. */
  readonly stream?: DestinationStream;
};

/** Errors are printed with this many causes. */
const maxCauses = 8;

/** A log that writes each line before the call returns, so that the last line before a crash is there. */
export function createPinoLog(options: PinoLogOptions): Log {
  const { verbosity } = options;
  const logger = pino(
    {
      level: verbosity < 0 ? "warn" : verbosity < 4 ? "info" : "debug",
      // Host name and process id are known to whatever collects the lines.
      base: null,
      messageKey: "message",
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    options.stream ?? destination({ dest: 2, sync: true }),
  );
  return {
    error(message, fields, cause) {
      logger.error(toLine(fields, cause), withoutSecrets(message));
    },
    warn(message, fields, cause) {
      logger.warn(toLine(fields, cause), withoutSecrets(message));
    },
    info(message, fields) {
      logger.info(toLine(fields), withoutSecrets(message));
    },
    debug(message, fields) {
      // Lines that nobody wants are not prepared either.
      if (logger.isLevelEnabled("debug")) logger.debug(toLine(fields), withoutSecrets(message));
    },
  };
}

/** pino's own members, which a field must not overwrite. */
const reserved = new Set(["level", "time", "message", "cause"]);
const secretName = /token|secret|password|passwd|authorization|credential|private.?key/i;
const secretTexts = [
  /(\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}/gi,
  /(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(?=-----END|$)/g,
  /(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/@:]+:[^\s/@]+(?=@)/gi,
  // A JSON Web Token, such as that of a service account.
  /(\bey)[\w-]{10,}\.[\w-]{10,}\.[\w-]*/g,
];

function toLine(fields: LogFields = {}, cause?: unknown): Record<string, unknown> {
  const line: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const key = reserved.has(name) ? `${name}_` : name;
    if (secretName.test(name)) line[key] = "[hidden]";
    else if (typeof value === "string") line[key] = withoutSecrets(value);
    else if (typeof value === "object") line[key] = value.map(withoutSecrets);
    else line[key] = value;
  }
  if (cause !== undefined) line["cause"] = describeCauses(cause);
  return line;
}

/** An error and what caused it, outermost first; the stack of the outermost alone, the others say where they belong. */
function describeCauses(cause: unknown): Record<string, string>[] {
  const causes: Record<string, string>[] = [];
  let current: unknown = cause;
  while (current !== undefined && current !== null && causes.length < maxCauses) {
    if (!(current instanceof Error)) {
      causes.push({ message: withoutSecrets(describeValue(current)) });
      break;
    }
    const entry: Record<string, string> = {
      name: current.name,
      message: withoutSecrets(current.message),
    };
    const code = (current as { code?: unknown }).code;
    if (typeof code === "string") entry["code"] = code;
    if (causes.length === 0 && current.stack !== undefined) {
      entry["stack"] = withoutSecrets(current.stack);
    }
    causes.push(entry);
    current = current.cause;
  }
  return causes;
}

function describeValue(value: unknown): string {
  if (typeof value === "string") return value;
  try {
    return JSON.stringify(value) ?? typeof value;
  } catch {
    // A value that JSON cannot say (a cycle, a bigint) is still worth its kind.
    return Object.prototype.toString.call(value);
  }
}

function withoutSecrets(text: string): string {
  return secretTexts.reduce((clean, pattern) => clean.replace(pattern, "$1[hidden]"), text);
}
