// Writes the CustomResourceDefinitions of src/wire as manifests into deploy/base/crds, for clusters in which the program may not install them.
//   node scripts/write-crds.ts
//
// Not a second source: test/deploy/manifests.test.ts compares both, and says to run this.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { floatingIpCrd, historyCrd, poolCrd } from "../src/wire/crd.ts";
import { quotaCrd } from "../src/wire/quota.ts";
import { floatingVipCrd, vipPoolCrd } from "../src/wire/vip-objects.ts";

/** The text of each manifest by the name of its file. */
export function crdManifests(): ReadonlyMap<string, string> {
  const all = [floatingIpCrd, poolCrd, quotaCrd, historyCrd, floatingVipCrd, vipPoolCrd];
  return new Map(
    all.map((crd) => {
      const plural = crd.spec.names.plural;
      const heading = "# Written by scripts/write-crds.ts from src/wire; change it there.\n";
      return [
        `${plural}.yaml`,
        heading + stringify(crd, { lineWidth: 0, aliasDuplicateObjects: false }),
      ];
    }),
  );
}

if (import.meta.main) {
  const folder = fileURLToPath(new URL("../deploy/base/crds/", import.meta.url));
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of crdManifests()) {
    writeFileSync(join(folder, name), text);
    console.log(`deploy/base/crds/${name}`);
  }
}
