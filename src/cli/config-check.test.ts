// `config check` in process: what is found in a file, and where its problems are.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CommandContext } from "./command-context.ts";
import { CommandProblem } from "./command-problem.ts";
import { configCheck } from "./config-check.ts";
import type { OutputFormat } from "./output.ts";

async function checked(
  text: string,
  options: {
    readonly output?: OutputFormat;
    readonly strict?: boolean;
    readonly key?: string;
  } = {},
): Promise<{ code: number; text: string }> {
  let written = "";
  const context = new CommandContext(
    {
      env: {},
      columns: undefined,
      hasColor: false,
      isInteractive: false,
      write: async (part) => {
        written += part;
      },
      note: () => {},
      readInput: async () => text,
    },
    { service: "", requestTimeout: 1, output: options.output ?? "table", color: false },
  );
  const { key = "floatingips", strict = false } = options;
  const code = await configCheck(context, "-", { key, strict });
  return { code, text: written };
}

const entry = (fields: object = {}) =>
  JSON.stringify({
    nodeSubnets: ["10.0.0.0/16"],
    ips: ["10.0.70.2~10.0.70.241"],
    subnet: "10.0.70.0/24",
    gateway: "10.0.70.1",
    vlan: 2,
    ...fields,
  });

describe("config check", () => {
  test("sums a valid list up", async () => {
    assert.deepEqual(await checked(`[${entry()}]`), {
      code: 0,
      text:
        "SUBNET        ADDRESSES  GATEWAY    VLAN  NODES        RANGES\n" +
        "10.0.70.0/24        240  10.0.70.1     2  10.0.0.0/16  10.0.70.2~10.0.70.241\n" +
        "the list is valid: 1 pod subnet, 240 addresses, 0 warnings\n",
    });
  });

  test("finds problems inside a ConfigMap's block text, by line and column of the file", async () => {
    const text = [
      "apiVersion: v1",
      "kind: ConfigMap",
      "metadata:",
      "  name: floatingip-config",
      "  namespace: kube-system",
      "data:",
      "  floatingips: |",
      "    [",
      `      ${entry()},`,
      '      {"nodeSubnets": ["10.1.0.0/16"],',
      '       "ips": ["10.1.70.2",',
      '               "10.1.70.300"],',
      '       "subnet": "10.1.70.0/24", "gateway": "10.1.70.1"}',
      "    ]",
    ].join("\n");
    const { code, text: report } = await checked(text);
    assert.equal(code, 1);
    assert.match(
      report,
      /^standard input:12:16: error: floatingips\[1\] \(subnet 10\.1\.70\.0\/24\): ips\[1\] .*\nConfigMap kube-system\/floatingip-config is not valid: 1 problem\n$/,
    );
  });

  test("finds problems in JSON inside quotes, in a JSON ConfigMap, and where the JSON itself breaks", async () => {
    const quoted = `kind: ConfigMap\nmetadata: {name: c}\ndata:\n  floatingips: '[${entry({ gateway: "x" })}]'\n`;
    assert.match(
      (await checked(quoted)).text,
      /^standard input:4:\d+: error: floatingips\[0\].*gateway/,
    );
    const json = JSON.stringify({
      kind: "ConfigMap",
      metadata: { name: "c", namespace: "n" },
      data: { floatingips: `[${entry()}]` },
    });
    assert.match((await checked(json)).text, /ConfigMap n\/c is valid: 1 pod subnet/);
    const broken = "kind: ConfigMap\ndata:\n  floatingips: |\n    [\n      {,}\n    ]\n";
    assert.match(
      (await checked(broken)).text,
      /^standard input:5:8: error: floatingips is not valid JSON/,
    );
  });

  test("reads the list in YAML, in galaxy-ipam.json, and under another key", async () => {
    const yaml =
      "- nodeSubnets: [10.0.0.0/16]\n  ips: [10.0.70.2]\n  subnet: 10.0.70.0/24\n  gateway: 10.0.71.1\n";
    assert.match(
      (await checked(yaml)).text,
      /^standard input:4:3: error: floatingips\[0\].*gateway/,
    );
    assert.match(
      (await checked(`{"floatingips":[${entry()}]}`)).text,
      /member "floatingips" is valid/,
    );
    const other = `kind: ConfigMap\nmetadata: {name: c}\ndata: {other: '[${entry()}]'}\n`;
    assert.equal((await checked(other, { key: "other" })).code, 0);
  });

  test("counts warnings as problems when strict, and says all of it in JSON", async () => {
    const text = `[${entry({ extra: 1 })}]`;
    const answer = await checked(text, { output: "json" });
    assert.equal(answer.code, 0);
    const [judged] = JSON.parse(answer.text) as [
      { isValid: boolean; warnings: { line: number; column: number; message: string }[] },
    ];
    assert.equal(judged.isValid, true);
    assert.equal(judged.warnings.length, 1);
    assert.equal(judged.warnings[0]?.line, 1);
    assert.match(judged.warnings[0]?.message ?? "", /unknown field "extra"/);
    assert.equal((await checked(text, { strict: true })).code, 1);
  });

  test("says of a file without a configuration what it looked for, and where YAML breaks", async () => {
    for (const [text, message] of [
      ["kind: Service\n", /holds no address configuration.*--key/],
      ["just words", /holds no address configuration/],
      ["a: [1,\n b: }", /standard input:2:\d+: neither YAML nor JSON/],
    ] as const) {
      const error: unknown = await checked(text).catch((problem: unknown) => problem);
      assert.ok(error instanceof CommandProblem);
      assert.match(error.message, message);
      assert.equal(error.exitCode, 1);
    }
  });
});
