/**
 * @file A piece of a file as it is stored: its bytes, the stamp of the download that they belong to, and the SHA-256 of
 * both. A piece that is cut off, damaged or of an older state of the file is found when it is read.
 */
import {Sha256} from '../files/sha256.js';

const STAMP_BYTES = 16;
const DIGEST_BYTES = 32;

/** Bytes that a seal takes beside the piece. */
export const SEAL_BYTES = STAMP_BYTES + DIGEST_BYTES;

/** A stamp that no other download has: 32 hexadecimal digits. */
export function freshStamp(): string {
  return hex(crypto.getRandomValues(new Uint8Array(STAMP_BYTES)));
}

/**
 * Seals a piece in place.
 *
 * @param piece Its bytes, and room for the seal behind them.
 */
export async function seal(piece: Uint8Array<ArrayBuffer>, stamp: string): Promise<void> {
  const signed = piece.subarray(0, piece.byteLength - DIGEST_BYTES);
  signed.set(bytesOf(stamp), signed.byteLength - STAMP_BYTES);
  piece.set(await digestOf(signed), signed.byteLength);
}

/** The bytes of a sealed piece, in the same memory; null unless they are whole and of the download. */
export async function unseal(
  piece: Uint8Array<ArrayBuffer>,
  stamp: string,
  length: number,
): Promise<Uint8Array<ArrayBuffer> | null> {
  if (piece.byteLength !== length + SEAL_BYTES) return null;
  const signed = piece.subarray(0, length + STAMP_BYTES);
  if (hex(signed.subarray(length)) !== stamp) return null;
  const digest = await digestOf(signed);
  const found = piece.subarray(length + STAMP_BYTES);
  return digest.every((byte, i) => byte === found[i]) ? piece.subarray(0, length) : null;
}

/** SHA-256 of bytes, hexadecimal. */
export async function digestText(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return hex(await digestOf(bytes));
}

/** Whether the browser makes checksums itself: not on pages without https. */
export function hasNativeDigest(): boolean {
  return (globalThis.crypto?.subtle as SubtleCrypto | undefined) !== undefined;
}

/** By the browser's own code, which is many times as fast, where it gives it. */
async function digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  if (!hasNativeDigest()) return bytesOf(new Sha256().update(bytes).digest());
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
}

function bytesOf(digits: string): Uint8Array {
  return Uint8Array.from({length: digits.length / 2}, (_, i) =>
    Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
