// The command line of galaxy-webhook.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseWebhookOptions } from "./webhook-options.ts";

function optionsOf(argv: readonly string[], podNamespace = "") {
  const parsed = parseWebhookOptions(argv, podNamespace);
  assert.ok(parsed.kind === "options", JSON.stringify(parsed));
  return parsed.options;
}

describe("parseWebhookOptions", () => {
  it("is called by the name of its Service in its namespace", () => {
    assert.deepEqual(optionsOf([]).serverNames, ["galaxy-webhook.kube-system.svc"]);
    assert.deepEqual(optionsOf([], "galaxy").serverNames, ["galaxy-webhook.galaxy.svc"]);
    assert.deepEqual(
      optionsOf(["--namespace=a", "--service", "hook", "--server-names=127.0.0.1, b"], "galaxy")
        .serverNames,
      ["hook.a.svc", "127.0.0.1", "b"],
    );
  });

  it("names every wrong value", () => {
    const parsed = parseWebhookOptions(["--port=x", "--renew-interval=1000", "--secret="], "");
    assert.deepEqual(parsed, {
      kind: "invalid",
      problems: [
        "--port=x: write a number from 0 to 65535",
        "--renew-interval=1000: write a number from 0.1 to 100",
        "--secret is empty; give the object's name",
      ],
    });
  });

  it("refuses what is no flag, and answers --help and --version", () => {
    assert.deepEqual(parseWebhookOptions(["serve", "--nonsense=1", "--v"], ""), {
      kind: "invalid",
      problems: [
        '"serve" is not a flag; galaxy-webhook takes flags only, see --help',
        "--nonsense is no flag of galaxy-webhook; see --help",
        "--v needs a value",
      ],
    });
    assert.equal(parseWebhookOptions(["--version"], "").kind, "version");
    const help = parseWebhookOptions(["-h"], "");
    assert.ok(help.kind === "help");
    assert.match(help.text, /--renew-interval\n/);
  });
});
