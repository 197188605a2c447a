// Log lines as a collector sees them.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Log } from "../../ports/log.ts";
import { createPinoLog } from "./pino-log.ts";

type Line = Record<string, unknown> & { readonly cause?: readonly Record<string, string>[] };

function record(write: (log: Log) => void, verbosity = 4): Line[] {
  const texts: string[] = [];
  const stream = {
    write(text: string) {
      texts.push(text);
    },
  };
  write(createPinoLog({ verbosity, stream }));
  return texts.map((text) => {
    assert.match(text, /^[^\n]*\n$/);
    return JSON.parse(text) as Line;
  });
}

describe("createPinoLog", () => {
  test("writes one JSON object a line with level, time, message and fields", () => {
    const [line] = record((log) => {
      log.info("address taken", {
        ip: "10.0.70.2",
        count: 2,
        first: true,
        nodes: ["a"],
        none: undefined,
      });
    });
    assert.equal(typeof line?.["time"], "string");
    assert.ok(!Number.isNaN(Date.parse(String(line?.["time"]))));
    assert.deepEqual(
      { ...line, time: "" },
      {
        level: "info",
        time: "",
        message: "address taken",
        ip: "10.0.70.2",
        count: 2,
        first: true,
        nodes: ["a"],
      },
    );
  });

  for (const [verbosity, levels] of [
    [-1, ["error", "warn"]],
    [0, ["error", "warn", "info"]],
    [3, ["error", "warn", "info"]],
    [4, ["error", "warn", "info", "debug"]],
    [10, ["error", "warn", "info", "debug"]],
  ] as const) {
    test(`--v=${verbosity} shows ${levels.join(", ")}`, () => {
      const lines = record((log) => {
        log.error("e");
        log.warn("w");
        log.info("i");
        log.debug("d");
      }, verbosity);
      assert.deepEqual(
        lines.map((line) => line["level"]),
        levels,
      );
    });
  }

  test("prints an error with its causes, the outermost first", () => {
    const root = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
    const [line] = record((log) => {
      log.error("bind failed", {}, new TypeError("no binding", { cause: root }));
    });
    assert.deepEqual(
      line?.cause?.map(({ name, message, code }) => [name, message, code]),
      [
        ["TypeError", "no binding", undefined],
        ["Error", "connect ECONNREFUSED", "ECONNREFUSED"],
      ],
    );
    assert.match(line?.cause?.[0]?.["stack"] ?? "", /pino-log\.test\.ts/);
  });

  test("prints causes that are no errors, go round in a circle or cannot be JSON", () => {
    const circle = new Error("round");
    circle.cause = circle;
    const odd: { self?: unknown } = {};
    odd.self = odd;
    const lines = record((log) => {
      log.warn("text", {}, "plain");
      log.warn("number", {}, { code: 7 });
      log.warn("circle", {}, circle);
      log.warn("cyclic", {}, odd);
      log.warn("bigint", {}, 1n);
    });
    assert.deepEqual(
      lines.map((line) => line.cause?.[0]?.["message"]),
      ["plain", '{"code":7}', "round", "[object Object]", "[object BigInt]"],
    );
    assert.equal(lines[2]?.cause?.length, 8);
  });

  test("hides secrets in fields, messages and causes", () => {
    const token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJpcGFtIn0.c2lnbmF0dXJl";
    const texts = JSON.stringify(
      record((log) => {
        log.warn(
          `sent Authorization: Bearer ${token}`,
          { clientToken: "abc123def", url: "https://user:hunter22@api:6443/x", list: [token] },
          new Error(`refused Bearer 0123456789abcdef\n-----BEGIN PRIVATE KEY-----\nMIIabc`),
        );
      }),
    );
    for (const secret of [token, "abc123def", "hunter22", "0123456789abcdef", "MIIabc"]) {
      assert.equal(texts.includes(secret), false, secret);
    }
    assert.match(texts, /Bearer \[hidden\]/);
    assert.match(texts, /https:\/\/\[hidden\]@api:6443\/x/);
  });

  test("a field cannot overwrite what every line has", () => {
    const [line] = record((log) => {
      log.info("real", { level: "fatal", message: "false", time: "never" });
    });
    assert.equal(line?.["level"], "info");
    assert.equal(line?.["message"], "real");
    assert.equal(line?.["level_"], "fatal");
  });
});
