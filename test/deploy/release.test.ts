// What a release says about itself: licences, bill of materials, and an image description that agrees with the rest.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import manifest from "../../package.json" with { type: "json" };
import { isAccepted, licences } from "../../scripts/licences.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

test("every package of a release has a licence that is accepted", () => {
  const all = licences();
  assert.deepEqual(
    all.filter((one) => !one.isAccepted),
    [],
  );
  for (const name of [...Object.keys(manifest.dependencies), "preact"]) {
    assert.ok(
      all.some((one) => one.name === name),
      name,
    );
  }
});

test("the command prints them all, and ends well", () => {
  const script = join(root, "scripts/licences.ts");
  const printed = execFileSync(process.execPath, [script], { encoding: "utf8" });
  for (const { name } of licences()) assert.ok(printed.includes(name), name);
});

test("of alternative licences one has to be accepted, of joined ones all", () => {
  const cases: readonly (readonly [string, boolean])[] = [
    ["MIT", true],
    ["(GPL-3.0-only OR MIT)", true],
    ["MIT AND GPL-3.0-only", false],
    ["GPL-3.0-only", false],
    ["", false],
  ];
  for (const [expression, expected] of cases) {
    assert.equal(isAccepted(expression), expected, expression);
  }
});

test("the bill of materials names every package of the product", () => {
  const path = `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}`;
  const text = execFileSync("npm", ["run", "--silent", "sbom"], {
    cwd: root,
    env: { ...process.env, PATH: path },
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const { bomFormat, components } = JSON.parse(text) as {
    bomFormat: string;
    components: { name: string; version: string }[];
  };
  assert.equal(bomFormat, "CycloneDX");
  for (const [name, version] of Object.entries(manifest.dependencies)) {
    const found = components.some((one) => one.name === name && one.version === version);
    assert.ok(found, `${name} ${version}`);
  }
});

test("the images are made on the version of Node that the project runs, galaxy-ipam without root", () => {
  const text = readFileSync(join(root, "deploy/Dockerfile"), "utf8");
  const version = readFileSync(join(root, ".nvmrc"), "utf8").trim();
  assert.match(text, new RegExp(`^ARG NODE_IMAGE=node:${version}-`, "m"));
  const stages = text.split(/^(?=FROM )/m).slice(1);
  const byName = new Map(stages.map((stage) => [/ AS (\S+)/.exec(stage)?.[1] ?? "", stage]));
  for (const stage of stages) {
    const base = /^FROM (\S+)/.exec(stage)?.[1] ?? "";
    assert.ok(base === "${NODE_IMAGE}" || byName.has(base), `${base} is not pinned above`);
    for (const [, from] of stage.matchAll(/--from=(\S+)/g)) assert.ok(byName.has(from ?? ""), from);
  }
  // What the first stage fetches packages with, before the rest of the sources is there.
  const [, copied = ""] = /^COPY (\S+ .*) \.\/$/m.exec(byName.get("build") ?? "") ?? [];
  assert.deepEqual(copied.split(" "), ["package.json", "package-lock.json", ".npmrc"]);
  for (const name of [...copied.split(" "), "scripts/link-node.mjs"])
    readFileSync(join(root, name));
  assert.match(byName.get("galaxy-ipam") ?? "", /^USER 65532:65532$/m);
  for (const name of ["galaxy-ipam", "galaxy-node"]) {
    const program = /^ENTRYPOINT \["\/opt\/galaxy\/bin\/([\w-]+)"\]$/m.exec(byName.get(name) ?? "");
    assert.ok(program !== null, name);
    readFileSync(join(root, "src/bin", `${program[1]}.ts`));
  }
});
