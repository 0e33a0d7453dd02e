import {expect} from 'chai';
import {FileError} from '../../../lib/errors.js';
import {fileFailure} from '../../../lib/io/files/file-failure.js';

/** What the operating system says, the code that users match, and what they are told to do. */
const FAILURES: readonly (readonly [errno: string, code: string, text: string])[] = [
  ['ENOENT', 'missing-file', 'm does not exist: check the path'],
  ['EISDIR', 'not-a-file', 'm is a folder: name a file in it'],
  ['ENOTDIR', 'not-a-folder', 'm leads through a file, not a folder: check the path'],
  ['EACCES', 'no-permission', 'm may not be used by this user: check its permissions'],
  ['EPERM', 'no-permission', 'm may not be used by this user: check its permissions'],
  ['EROFS', 'no-permission', 'm lies on a read-only file system: choose another place'],
  ['ENOSPC', 'disk-full', 'm does not fit on the disk: free some space and try again'],
  ['EDQUOT', 'disk-full', 'm does not fit in the disk quota: free some space and try again'],
  [
    'EFBIG',
    'file-too-large',
    'm would have a file larger than this process or disk allows: raise `ulimit -f`, or save in smaller shards',
  ],
  ['EIO', 'file-failure', 'm cannot be used: EIO: it failed'],
];

/** An error as Node.js throws it. */
function systemError(errno: string): Error {
  return Object.assign(new Error(`${errno}: it failed`), {code: errno, syscall: 'open'});
}

describe('fileFailure', () => {
  for (const [errno, code, text] of FAILURES) {
    it(`says what ${errno} means and what to do`, () => {
      const cause = systemError(errno);
      const error = fileFailure('m', cause);
      expect(error).to.be.instanceOf(FileError).and.include({code, message: text, cause});
      expect(error).to.have.deep.property('data', {path: 'm', errno});
    });
  }

  it('gives back what is not of the file system as it is', () => {
    for (const other of [
      new Error('a bug'),
      Object.assign(new Error('of a library'), {code: 'ENOENT'}),
      Object.assign(new Error('without a code'), {syscall: 'open'}),
      {code: 'ENOENT', syscall: 'open'},
      'a text',
      undefined,
    ]) {
      expect(fileFailure('m', other)).to.equal(other);
    }
  });
});
