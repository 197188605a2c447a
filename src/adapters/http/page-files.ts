// Serves the web page: a document that is asked for anew each time, and script and style that never change under their names. The files
// are read once, so that no request names a path of the disk.

import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

/** One file of the page as it is sent. */
export type PageFile = {
  readonly contentType: string;
  readonly plain: Buffer;
  readonly compressed: Buffer;
  readonly etag: string;
};

/** The files by name; `index.html` is the document. */
export type PageFiles = ReadonlyMap<string, PageFile>;

const contentTypes: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
};

/** Nothing but the page's own files and the API of its own origin; nobody may put the page into a frame. */
const securityHeaders = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "x-frame-options": "DENY",
};

/**
 * Reads a built page.
 * @param folders the first of them that has a page counts
 * @returns undefined when none has one
 */
export async function readPageFiles(folders: readonly string[]): Promise<PageFiles | undefined> {
  for (const folder of folders) {
    const names: readonly string[] = await readdir(folder).catch(() => []);
    if (!names.includes("index.html")) continue;
    const files = new Map<string, PageFile>();
    for (const name of names) {
      const contentType = contentTypes[name.slice(name.lastIndexOf(".") + 1)];
      if (contentType === undefined) continue;
      const plain = await readFile(join(folder, name));
      files.set(name, {
        contentType,
        plain,
        compressed: await promisify(gzip)(plain),
        etag: `"${createHash("sha256").update(plain).digest("base64url").slice(0, 22)}"`,
      });
    }
    return files;
  }
  return undefined;
}

/** Adds `/` and the files below `/page/`. */
export function addPageRoutes(server: FastifyInstance, files: PageFiles): void {
  for (const [name, file] of files) {
    const isDocument = name === "index.html";
    server.get(isDocument ? "/" : `/page/${name}`, async (request, reply) =>
      sendFile(request, reply, file, isDocument),
    );
  }
}

function sendFile(
  request: FastifyRequest,
  reply: FastifyReply,
  file: PageFile,
  isDocument: boolean,
): FastifyReply {
  reply.headers(securityHeaders).headers({
    etag: file.etag,
    vary: "accept-encoding",
    "cache-control": isDocument ? "no-cache" : "public, max-age=31536000, immutable",
  });
  if (request.headers["if-none-match"] === file.etag) return reply.code(304).send();
  reply.type(file.contentType);
  const accepts = request.headers["accept-encoding"] ?? "";
  if (!/\bgzip\b/.test(accepts)) return reply.send(file.plain);
  return reply.header("content-encoding", "gzip").send(file.compressed);
}
