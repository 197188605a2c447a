// Calls of the scheduler extender as a scheduler or an operator with curl makes them: JSON over HTTP to the running process.

/** An answer: its status, its text, and that text read as JSON (undefined when it is none). */
export type SchedulerAnswer = {
  readonly status: number;
  readonly text: string;
  readonly json: unknown;
};

/** Posts to a path of the extender; text is sent as it is. */
export async function callExtender(
  url: string,
  path: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = { "content-type": "application/json" },
): Promise<SchedulerAnswer> {
  const answer = await fetch(`${url}${path}`, {
    method: "POST",
    headers,
    body: typeof body === "string" ? body : JSON.stringify(body),
    signal: AbortSignal.timeout(60_000),
  });
  const text = await answer.text();
  return { status: answer.status, text, json: readJson(text) };
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
