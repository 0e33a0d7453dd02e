/** @file The language model that lies beside the page, or why none does. */

/** What the build wrote. */
export type OfferedModel =
  | {readonly name: string; readonly path: string; readonly bytes: number; readonly memoryBytes: number}
  /** Why there is none. */
  | {readonly reason: string};

/** Asks the page's host. */
export async function offeredModel(): Promise<OfferedModel> {
  try {
    const response = await fetch('models/chat.json');
    if (response.ok) return (await response.json()) as OfferedModel;
    return {reason: `the server says ${response.status} ${response.statusText}`};
  } catch {
    return {reason: 'the server does not answer'};
  }
}
