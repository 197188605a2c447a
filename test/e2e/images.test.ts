// The images of deploy/Dockerfile, built for real and without a registry: each target as it is written, on a base of this machine's Node. Only
// the first stage, which fetches packages and runs the build, is replaced by what the build makes here; and Debian's packages are not fetched.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { parse as parseYaml } from "yaml";
import manifest from "../../package.json" with { type: "json" };
import { waitUntil } from "../control-plane/api.ts";
import { freePort, removeAtExit, tailOf, waitForProgram } from "../control-plane/child-program.ts";
import {
  type Image,
  ImageBuilder,
  reasonToSkipImages,
  startInImage,
} from "../deploy/image-builder.ts";

const skip = await reasonToSkipImages();
const root = fileURLToPath(new URL("../..", import.meta.url));

type PodSpec = {
  readonly securityContext: { readonly runAsUser: number; readonly runAsGroup: number };
  readonly containers: readonly [
    {
      readonly command?: readonly string[];
      readonly args?: readonly string[];
      readonly securityContext: { readonly readOnlyRootFilesystem: boolean };
    },
  ];
};

/** The pod template of a Deployment of deploy/. */
function podOf(path: string): PodSpec {
  const text = readFileSync(join(root, "deploy", path), "utf8");
  return (parseYaml(text) as { spec: { template: { spec: PodSpec } } }).spec.template.spec;
}

describe("deploy/Dockerfile", { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-images-"));
  removeAtExit(folder);
  let builder: ImageBuilder;
  /** The Dockerfile without its first stage. */
  let dockerfile: string;

  before(async () => {
    const path = `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}`;
    const script = join(root, "scripts/build.ts");
    execFileSync(process.execPath, [script, join(folder, "context/dist")], {
      env: { PATH: path },
      stdio: "pipe",
    });
    // A hundred megabytes that test/build.test.ts looks at.
    rmSync(join(folder, "context/dist/host/galaxy-plugins"), { force: true });
    builder = await ImageBuilder.open(folder);
    const text = readFileSync(join(root, "deploy/Dockerfile"), "utf8");
    dockerfile = text.replace(
      /^FROM \S+ AS build\n[\s\S]*?(?=^FROM )/m,
      "FROM scratch AS build\nCOPY dist /src/dist/\n",
    );
    assert.notEqual(dockerfile, text);
  });

  /** As kubelet probes: without a look at the certificate. */
  const probe = (port: number, path: string) =>
    new Promise<{ status: number; text: string }>((resolve, reject) => {
      const call = request(
        { host: "127.0.0.1", port, path, agent: false, rejectUnauthorized: false },
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

  test("galaxy-ipam and galaxy-webhook run in their image as the manifests start them: without root, on a root that cannot be written", async (t) => {
    const image = await builder.build(dockerfile, "galaxy-ipam", join(folder, "context"));
    const files = {
      ipam: "base/ipam/deployment.yaml",
      webhook: "components/webhook/deployment.yaml",
    };
    for (const { securityContext, containers } of Object.values(files).map(podOf)) {
      const { runAsUser, runAsGroup } = securityContext;
      assert.equal(image.user, `${runAsUser}:${runAsGroup}`);
      assert.equal(containers[0].securityContext.readOnlyRootFilesystem, true);
    }
    assert.ok(!existsSync(join(image.root, "opt/galaxy/host")), "it is small");

    const where = await outputOf(
      image,
      ["node", "-p"],
      [
        "let kept = 'read-only'; try { fs.writeFileSync('/tmp/x', ''); kept = 'writable'; } catch (e) { kept = e.code; }" +
          " `${process.getuid()} ${process.getgid()} ${kept}`",
      ],
    );
    assert.equal(where, "65532 65532 EROFS");

    const [port, apiPort] = [await freePort(), await freePort()];
    const [container] = podOf(files.ipam).containers;
    const ipam = startInImage(image, {
      args: [
        ...(container.args ?? []).filter((arg) => !arg.startsWith("--bind=")),
        // Nobody is there.
        "--master=http://127.0.0.1:1",
        `--port=${port}`,
        `--api-port=${apiPort}`,
      ],
      user: image.user,
      logFile: join(folder, "ipam.log"),
    });
    t.after(() => ipam.stop());
    const url = `http://127.0.0.1:${apiPort}`;
    await waitForProgram(ipam, async () => (await fetch(`${url}/livez`)).ok);
    const ready = await waitUntil(
      "health to say why",
      async () => (await fetch(`${url}/readyz`)).text(),
      (text) => text.includes("ECONNREFUSED"),
    );
    assert.doesNotMatch(ready.trim(), /\n/);
    const page = await fetch(`${url}/`);
    assert.match(page.headers.get("content-type") ?? "", /^text\/html/);
    await page.arrayBuffer();

    const webhookPort = await freePort();
    const [{ command = [], args = [] }] = podOf(files.webhook).containers;
    const webhook = startInImage(image, {
      command,
      args: [...args, "--master=http://127.0.0.1:1", "--bind=127.0.0.1", `--port=${webhookPort}`],
      user: image.user,
      logFile: join(folder, "webhook.log"),
    });
    t.after(() => webhook.stop());
    await waitForProgram(webhook, async () => (await probe(webhookPort, "/livez")).status === 200);
    const { status, text } = await waitUntil(
      "readiness to say why",
      () => probe(webhookPort, "/readyz"),
      (seen) => seen.text.includes("ECONNREFUSED"),
    );
    assert.equal(status, 503);
    assert.doesNotMatch(text.trim(), /\n/);
  });

  test("the daemon's image has its programs, the library for system calls, and asks Debian for the programs that it starts", async () => {
    const image = await builder.build(dockerfile, "galaxy-node", join(folder, "context"));
    assert.equal(
      await outputOf(image, image.entrypoint, ["--version"]),
      `galaxy ${manifest.version}`,
    );
    const script = "console.log(typeof (await import('koffi')).default.load)";
    const inFolder = ["env", "--chdir=/opt/galaxy", "node", "--input-type=module", "--eval"];
    assert.equal(await outputOf(image, inFolder, [script]), "function");
    assert.ok(existsSync(join(image.root, "opt/galaxy/host/galaxy-sdn")));
    const asked = readFileSync(join(image.root, "apt-get.log"), "utf8");
    // ip and tc, nft, nsenter and unshare.
    for (const name of ["iproute2", "nftables", "util-linux"]) {
      assert.match(asked, new RegExp(`^install .*\\b${name}\\b`, "m"));
    }
  });

  /** What a program of an image prints until its end. */
  async function outputOf(
    image: Image,
    command: readonly string[],
    args: readonly string[],
  ): Promise<string> {
    const logFile = join(folder, `${command.join("-").replaceAll("/", "-")}.log`);
    const user = image.user === "" ? "0:0" : image.user;
    const program = startInImage(image, { command, args, user, logFile });
    await waitUntil(
      `${program.name} to end`,
      async () => program.isRunning(),
      (isRunning) => !isRunning,
    );
    return tailOf(logFile);
  }
});
