/** @file The error that an action must end with. */
import {expect} from 'chai';
import {SparsifyError} from '../../lib/errors.js';

/** Fails unless `action` rejects with an error of this package with this code; gives the error back. */
export async function rejection(action: () => unknown, code: string): Promise<SparsifyError> {
  let error: unknown;
  try {
    await action();
  } catch (caught) {
    error = caught;
  }
  expect(error, 'nothing was thrown').to.be.instanceOf(SparsifyError);
  const known = error as SparsifyError;
  expect(known.code, known.message).to.equal(code);
  return known;
}
