/** @file Why a step of the set-up could not be done, and what would help. */
import {SparsifyError} from '../errors.js';

/** A step that failed for a reason that the user can do something about. */
export class ProvisionError extends SparsifyError {
  override name = 'ProvisionError';

  /**
   * @param code Stable identifier, kebab-case.
   * @param message What was got and what is needed.
   * @param help What to do next, as an instruction.
   */
  constructor(
    code: string,
    message: string,
    readonly help: string,
  ) {
    super(code, message, {help});
  }
}
