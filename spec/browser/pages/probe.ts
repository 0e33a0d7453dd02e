/** @file What a page sees of itself and of its server. */

export function isIsolated(): boolean {
  return globalThis.crossOriginIsolated && typeof SharedArrayBuffer === 'function';
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

export function fail(message: string): never {
  throw new Error(message);
}

export function report(message: string): void {
  console.error(message);
}

export async function read(
  path: string,
  range?: string,
): Promise<{status: number; type: string | null; bytes: number[]}> {
  const response = await fetch(path, {headers: range === undefined ? {} : {Range: range}});
  const bytes = new Uint8Array(await response.arrayBuffer());
  return {status: response.status, type: response.headers.get('content-type'), bytes: [...bytes]};
}
