/**
 * @file An argument of a command as others may read it: a card or a report goes to other machines and onto web pages, and
 * tells neither how this machine's folders are called nor what opens a URL.
 */
import {basename, isAbsolute, relative} from 'node:path';
import {fileURLToPath} from 'node:url';

/** `--data=` of `--data=/home/me/x.npy`. */
const OPTION = /^(--?[a-z][a-z-]*=)(.+)$/is;

/**
 * Takes out of an argument what concerns this machine or its user alone. A path inside the working folder is told from
 * there, another absolute one by its last name; a URL without user, password, query and fragment, which hold keys and
 * signatures.
 *
 * @param argument As the shell gave it: a value, or an option with its value.
 */
export function publicArgument(argument: string): string {
  const [, option, value] = OPTION.exec(argument) ?? [undefined, '', argument];
  return option + publicValue(value);
}

function publicValue(value: string): string {
  if (/^file:\/\//i.test(value)) return publicPath(pathOf(value));
  if (isAbsolute(value)) return publicPath(value);
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(value)) return value;
  // What looks like a URL and is none may hold a password all the same: its last name is told.
  if (!URL.canParse(value)) return basename(value.replace(/[?#].*$/s, ''));
  const {protocol, host, pathname} = new URL(value);
  return `${protocol}//${host}${pathname}`;
}

/** The path of a file URL; tf.io's own, `file://models/x`, have no host but a relative path. */
function pathOf(url: string): string {
  try {
    return fileURLToPath(url);
  } catch {
    return url.slice('file://'.length);
  }
}

function publicPath(path: string): string {
  if (!isAbsolute(path)) return path;
  const inside = relative(process.cwd(), path);
  if (inside === '') return '.';
  return inside.startsWith('..') || isAbsolute(inside) ? basename(path) : inside;
}
