// The contract of attachment stores, run by the one in memory and the one on files.

import { mkdtemp, readdir, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AttachmentFiles } from "../../src/adapters/linux/attachment-files.ts";
import { MemoryAttachmentStore } from "../../src/adapters/memory/attachment-store.ts";
import { describeAttachmentStore } from "./attachment-store.ts";

describeAttachmentStore("MemoryAttachmentStore", async () => {
  const store = new MemoryAttachmentStore();
  return { store, again: () => store, cut: async () => store.cut(), stop: async () => {} };
});

describeAttachmentStore("AttachmentFiles", async () => {
  const folder = await mkdtemp(join(tmpdir(), "galaxy-attachments-"));
  return {
    store: new AttachmentFiles(folder),
    again: () => new AttachmentFiles(folder),
    cut: async () => {
      for (const name of await readdir(folder)) await truncate(join(folder, name), 20);
    },
    stop: () => rm(folder, { recursive: true }),
  };
});
