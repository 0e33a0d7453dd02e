/** @file Why a step of the set-up could not be done, and what would help. */

/** A step that failed for a reason that the user can do something about. */
export class ProvisionError extends Error {
  /**
   * @param {string} code Stable identifier, kebab-case.
   * @param {string} message What was got and what is needed.
   * @param {string} help What to do next, as an instruction.
   */
  constructor(code, message, help) {
    super(message);
    this.name = 'ProvisionError';
    this.code = code;
    this.help = help;
  }
}
