import {expect} from 'chai';
import {TextPieces, decodeText, encodingOf} from '../../../lib/io/files/decode-text.js';
import {readText} from '../../../lib/io/files/read-text.js';
import {failure, temporaryFolder, write} from '../../support/io/files.js';

const TEXT = '[1, "ä€😀"]\n';

/** A text in an encoding, with a mark or without. */
function encoded(encoding: string, mark: boolean, text = TEXT): Uint8Array {
  const marked = mark ? `\ufeff${text}` : text;
  if (encoding === 'utf-8') return Buffer.from(marked);
  const bytes = Buffer.from(marked, 'utf16le');
  return encoding === 'utf-16le' ? bytes : bytes.swap16();
}

describe('decodeText', () => {
  const at = temporaryFolder();

  for (const encoding of ['utf-8', 'utf-16le', 'utf-16be'] as const) {
    for (const mark of [true, false]) {
      it(`reads ${encoding} ${mark ? 'with' : 'without'} a mark, whole and byte by byte`, async () => {
        const bytes = encoded(encoding, mark);
        expect(encodingOf(bytes)).to.equal(encoding);
        expect(decodeText(bytes, 'x')).to.equal(TEXT);
        const pieces = new TextPieces('x');
        const text = [...bytes].map((byte) => pieces.add(Uint8Array.of(byte))).join('');
        expect(text + pieces.end()).to.equal(TEXT);
        expect(await readText(write(at('x.txt'), bytes))).to.equal(TEXT);
      });

      for (const short of ['', '7', '[]'])
        it(`reads ${encoding} ${mark ? 'with' : 'without'} a mark of ${short.length} characters`, () => {
          expect(decodeText(encoded(encoding, mark, short), 'x')).to.equal(short);
        });
    }
  }

  for (const [what, bytes, words] of [
    ['Latin-1', Buffer.from('caf\xe9 au lait', 'latin1'), 'UTF-8'],
    ['a character that is cut off', Buffer.from('abcä').subarray(0, 4), 'UTF-8'],
    ['half of a pair of UTF-16', Buffer.from([0xff, 0xfe, 0x3d, 0xd8, 0x41, 0]), 'UTF-16LE'],
    ['an odd number of bytes of UTF-16', Buffer.from([0xfe, 0xff, 0, 0x41, 0]), 'UTF-16BE'],
  ] as const) {
    it(`names ${what}`, async () => {
      const error = await failure(() => decodeText(bytes, 'file.txt'));
      expect(error.code).to.equal('malformed-text');
      expect(error.message).to.include(`file.txt is not ${words}`);
    });
  }

  it('names a file that is missing', async () => {
    expect((await failure(readText(at('none.txt')))).code).to.equal('missing-file');
  });
});
