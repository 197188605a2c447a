// Lists in pages: at no time more than two pages of whole objects are in memory, and the next page travels while one is read.

import { type ApiClient, parseAnswer } from "./api-client.ts";
import { ApiError } from "./api-error.ts";

/** What is listed: a collection's path without query, a selector, and how messages name it ("pods"). */
export type Collection = {
  readonly path: string;
  readonly fieldSelector?: string;
  readonly what: string;
};

/** A page: objects as they came, and the version of the whole list. */
export type ListPage = { readonly items: readonly unknown[]; readonly resourceVersion: string };

/** The query of a collection with more parameters. */
export function queryOf(
  collection: Collection,
  parameters: Readonly<Record<string, string>>,
): string {
  const query = new URLSearchParams(parameters);
  if (collection.fieldSelector !== undefined) query.set("fieldSelector", collection.fieldSelector);
  return query.toString();
}

/**
 * All pages of a collection, read from the source of truth (no resourceVersion: a quorum read).
 * Rejects with a WorldError; ApiError with status 410 when the list grew too old between two pages, 404 when there is no such
 * collection. `limit` is the most objects of a page.
 */
export async function* listPages(
  client: ApiClient,
  collection: Collection,
  limit: number,
): AsyncGenerator<ListPage, void, undefined> {
  let next: Promise<unknown> | undefined = readPage(client, collection, limit, undefined);
  while (next !== undefined) {
    const page = pageOf(await next, collection.what);
    next = undefined;
    if (page.continueToken !== "") {
      next = readPage(client, collection, limit, page.continueToken);
      // The consumer may stop before it asks for this page; its failure is then nobody's.
      next.catch(() => {});
    }
    yield { items: page.items, resourceVersion: page.resourceVersion };
  }
}

async function readPage(
  client: ApiClient,
  collection: Collection,
  limit: number,
  continueToken: string | undefined,
): Promise<unknown> {
  const query = queryOf(collection, {
    limit: String(limit),
    ...(continueToken === undefined ? {} : { continue: continueToken }),
  });
  const tried = `list ${collection.what}`;
  const answer = await client.read({
    path: `${collection.path}?${query}`,
    tried,
    timeLimitMs: client.listTimeLimitMs,
    isLarge: true,
  });
  if (answer.kind === "missing") {
    // Only in a namespace: some servers say that of a collection in a namespace that does not exist.
    return { metadata: { resourceVersion: "0" }, items: [] };
  }
  return parseAnswer(answer.text, tried, false);
}

function pageOf(json: unknown, what: string): ListPage & { readonly continueToken: string } {
  const list = json as {
    readonly items?: unknown;
    readonly metadata?: { readonly resourceVersion?: unknown; readonly continue?: unknown };
  } | null;
  const resourceVersion = list?.metadata?.resourceVersion;
  const items = list?.items ?? [];
  if (typeof resourceVersion !== "string" || !Array.isArray(items)) {
    throw new ApiError("API_UNREADABLE", {
      tried: `list ${what}`,
      message: "the answer is not a list; is there a proxy between us and the API server?",
      mayHaveHappened: false,
      status: 200,
    });
  }
  const token = list?.metadata?.continue;
  return { items, resourceVersion, continueToken: typeof token === "string" ? token : "" };
}
