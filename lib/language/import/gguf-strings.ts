/**
 * @file The lists of strings in a GGUF header, byte for byte. The parser's text decoder drops a byte order mark at the
 * start of a string, and vocabularies have tokens that start with one: two tokens would become the same.
 */
import type {GgufHeader} from './gguf-header.js';
import type {RandomAccessFile} from './random-access-file.js';

const KEYS = ['tokenizer.ggml.tokens', 'tokenizer.ggml.merges'];
/** Types of metadata values in the format. */
const STRING = 8;
const ARRAY = 9;

/**
 * Reads tokens and merges again.
 *
 * @param file The open file.
 * @param header Its header.
 * @returns The lists by key: those that the header has, of the length that it says.
 */
export async function exactStrings(
  file: RandomAccessFile,
  header: GgufHeader,
): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  const wanted = KEYS.filter((key) => Array.isArray(header.metadata.get(key)));
  if (wanted.length === 0) return found;
  const bytes = Buffer.from((await file.read(0, header.length, 'the header')).buffer);
  for (const key of wanted) {
    const strings = listOf(bytes, key, (header.metadata.get(key) as unknown[]).length);
    if (strings !== null) found.set(key, strings);
  }
  return found;
}

/** A key is followed by its type, the type and number of the elements, and these: length and bytes of each. */
function listOf(bytes: Buffer, key: string, count: number): string[] | null {
  const start = Buffer.alloc(8 + key.length + 8 + 8);
  start.writeBigUInt64LE(BigInt(key.length), 0);
  start.write(key, 8, 'latin1');
  start.writeUInt32LE(ARRAY, 8 + key.length);
  start.writeUInt32LE(STRING, 12 + key.length);
  start.writeBigUInt64LE(BigInt(count), 16 + key.length);
  let position = bytes.indexOf(start);
  if (position < 0) return null;
  position += start.length;
  const strings: string[] = [];
  while (strings.length < count) {
    if (position + 8 > bytes.length) return null;
    const length = Number(bytes.readBigUInt64LE(position));
    position += 8;
    if (position + length > bytes.length) return null;
    strings.push(bytes.toString('utf8', position, position + length));
    position += length;
  }
  return strings;
}
