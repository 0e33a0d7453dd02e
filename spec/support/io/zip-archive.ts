/** @file Archives of stored members, byte by byte, as no library would write all of them. */
import {crc32} from 'node:zlib';

/** How a member differs from a plain one. */
export interface MemberOptions {
  /** Sizes and offset as all ones in the directory, with the values in the Zip64 extra field after another field. */
  readonly zip64?: boolean;
}

/** A zip archive with these files. */
export function zipOf(
  files: Readonly<Record<string, string | Uint8Array>>,
  {zip64 = false}: MemberOptions = {},
): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, content] of Object.entries(files)) {
    const bytes = Buffer.from(content as Uint8Array);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt32LE(crc32(bytes), 14);
    local.writeUInt32LE(bytes.length, 18);
    local.writeUInt32LE(bytes.length, 22);
    local.writeUInt16LE(Buffer.byteLength(name), 26);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt32LE(crc32(bytes), 16);
    entry.writeUInt32LE(zip64 ? 0xffffffff : bytes.length, 20);
    entry.writeUInt32LE(zip64 ? 0xffffffff : bytes.length, 24);
    entry.writeUInt16LE(Buffer.byteLength(name), 28);
    entry.writeUInt32LE(zip64 ? 0xffffffff : offset, 42);
    const extra = zip64 ? zip64Extra(bytes.length, offset) : Buffer.alloc(0);
    entry.writeUInt16LE(extra.length, 30);
    parts.push(local, Buffer.from(name), bytes);
    directory.push(entry, Buffer.from(name), extra);
    offset += local.length + Buffer.byteLength(name) + bytes.length;
  }
  const listed = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Object.keys(files).length, 8);
  end.writeUInt16LE(Object.keys(files).length, 10);
  end.writeUInt32LE(listed.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, listed, end]);
}

/** A field of times, as Info-ZIP writes it, and then the Zip64 field: size, packed size, offset. */
function zip64Extra(bytes: number, offset: number): Buffer {
  const extra = Buffer.alloc(9 + 28);
  extra.writeUInt16LE(0x5455, 0);
  extra.writeUInt16LE(5, 2);
  extra.writeUInt16LE(1, 9);
  extra.writeUInt16LE(24, 11);
  extra.writeBigUInt64LE(BigInt(bytes), 13);
  extra.writeBigUInt64LE(BigInt(bytes), 21);
  extra.writeBigUInt64LE(BigInt(offset), 29);
  return extra;
}
