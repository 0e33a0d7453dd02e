/** @file What may be given as the source of a language model in a page. */
import {FileError} from '../../errors.js';

/** @throws {FileError} `bad-option` for what is neither an address nor files. */
export function checkSource(source: unknown): void {
  const isAddress = (typeof source === 'string' && source.trim() !== '') || source instanceof URL;
  if (isAddress || source instanceof Blob) return;
  if (Array.isArray(source) && source.every((file) => file instanceof Blob)) return;
  throw new FileError(
    'bad-option',
    `the source of the model is ${typeof source === 'string' ? 'an empty text' : String(source)}; give an address, a .gguf File, or ` +
      'the Files of a folder',
  );
}
