// Tests that need a feature of the kernel: they run here when this kernel has it, in user-mode-linux when it has not, and are skipped with the
// reason when neither can be. The tests themselves do not know where they run.

import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { KernelFeature } from "./network-lab.ts";
import { kernelHas, reasonToSkipLab } from "./network-lab.ts";
import { guestKernel, stopGuestKernel } from "./user-mode-linux.ts";

/** A test is ended after this time; alone on a quiet machine it takes seconds. */
const testLimitMs = 300_000;

/** The tests that a file told of, inside user-mode-linux, by the name of their group and their own. */
export const guestTests = new Map<string, () => Promise<void>>();

let groupsLeft = 0;

/**
 * A group of tests that need features of the kernel.
 * @param group `file`: import.meta.url of the test file
 */
export async function describeOnKernel(
  group: {
    readonly title: string;
    readonly file: string;
    readonly needs: readonly KernelFeature[];
  },
  tell: (test: (name: string, body: () => Promise<void>) => void) => void,
): Promise<void> {
  const { title, file, needs } = group;
  const nameOf = (name: string) => `${title}: ${name}`;
  // Never both: a test that were told to node:test in there would be run at once.
  if (process.env.GALAXY_GUEST !== undefined) {
    tell((name, body) => guestTests.set(nameOf(name), body));
    return;
  }
  const lack = await lackHere(needs);
  if (lack === undefined) {
    describe(`${title} (this machine's kernel)`, { timeout: 3_600_000 }, () => {
      tell((name, body) => void it(name, { timeout: testLimitMs }, body));
    });
    return;
  }
  groupsLeft += 1;
  describe(`${title} (in user-mode-linux, because ${lack})`, { timeout: 3_600_000 }, () => {
    tell((name) => {
      it(name, { timeout: testLimitMs + 200_000 }, async (context) => {
        const guest = await guestKernel();
        if (guest.kind === "missing") {
          context.skip(`${lack}, and ${guest.because}`);
          return;
        }
        context.diagnostic(`ran in Linux ${guest.version} (user-mode-linux)`);
        await guest.runTest(fileURLToPath(file), nameOf(name), testLimitMs);
      });
    });
    after(async () => {
      groupsLeft -= 1;
      if (groupsLeft === 0) await stopGuestKernel();
    });
  });
}

/** Why these tests cannot run here. */
async function lackHere(needs: readonly KernelFeature[]): Promise<string | undefined> {
  const noLab = await reasonToSkipLab();
  if (noLab !== false) return noLab;
  for (const feature of needs) {
    if (!(await kernelHas(feature))) return `this kernel has no ${feature}`;
  }
  return undefined;
}
