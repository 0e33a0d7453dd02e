/**
 * @file SHA-256 (FIPS 180-4) of bytes that come in pieces, in plain TypeScript: `crypto.subtle` of browsers takes only what
 * is in memory whole, and is there only for pages that came by https or from this machine.
 */

/** A checksum in the making. */
export interface Sha256Hash {
  update(bytes: Uint8Array): unknown;
  /** The checksum of all bytes, 64 hexadecimal digits; nothing can be added afterwards. */
  digest(encoding: 'hex'): string;
}

const BLOCK_BYTES = 64;

/** The first 32 bits of the fractions of the cube roots of the first 64 primes. */
const ROUNDS = fractions(64, Math.cbrt);
/** Of the square roots of the first 8. */
const START = fractions(8, Math.sqrt);

export class Sha256 implements Sha256Hash {
  private readonly state = Int32Array.from(START);
  private readonly schedule = new Int32Array(64);
  /** Bytes that do not fill a block yet. */
  private readonly rest = new Uint8Array(BLOCK_BYTES);
  private length = 0;

  update(bytes: Uint8Array): this {
    let at = 0;
    const held = this.length % BLOCK_BYTES;
    this.length += bytes.byteLength;
    if (held > 0) {
      at = Math.min(BLOCK_BYTES - held, bytes.byteLength);
      this.rest.set(bytes.subarray(0, at), held);
      if (held + at < BLOCK_BYTES) return this;
      this.add(this.rest, 0);
    }
    for (; at + BLOCK_BYTES <= bytes.byteLength; at += BLOCK_BYTES) this.add(bytes, at);
    this.rest.set(bytes.subarray(at));
    return this;
  }

  digest(_encoding: 'hex' = 'hex'): string {
    const bits = BigInt(this.length) * 8n;
    const zeros = (2 * BLOCK_BYTES - 9 - (this.length % BLOCK_BYTES)) % BLOCK_BYTES;
    const end = new Uint8Array(1 + zeros + 8);
    end[0] = 0x80;
    new DataView(end.buffer).setBigUint64(1 + zeros, bits);
    this.update(end);
    return [...this.state].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
  }

  private add(bytes: Uint8Array, at: number): void {
    const {schedule: w, state} = this;
    for (let i = 0; i < 16; i++, at += 4) {
      w[i] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
    }
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15];
      const y = w[i - 2];
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0;
    }
    let a = state[0];
    let b = state[1];
    let c = state[2];
    let d = state[3];
    let e = state[4];
    let f = state[5];
    let g = state[6];
    let h = state[7];
    for (let i = 0; i < 64; i++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + ROUNDS[i] + w[i]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
  }
}

function fractions(count: number, root: (value: number) => number): Int32Array {
  const primes: number[] = [];
  for (let n = 2; primes.length < count; n++) if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  return Int32Array.from(primes, (prime) => ((root(prime) % 1) * 2 ** 32) | 0);
}
