/** @file User and password in a URL, which go into a header and are never shown. */

/** A URL without its user and password, and the header that stands for them. */
export interface PlainUrl {
  readonly url: string;
  /** `Basic …`, or null if the URL has neither. */
  readonly authorization: string | null;
}

/**
 * Takes user and password out of a URL: `fetch` refuses a URL that has them.
 *
 * @param url A valid http(s) URL.
 */
export function takeCredentials(url: string): PlainUrl {
  const parsed = new URL(url);
  if (parsed.username === '' && parsed.password === '') return {url, authorization: null};
  const [user, password] = [parsed.username, parsed.password].map(decoded);
  parsed.username = '';
  parsed.password = '';
  return {url: parsed.href, authorization: `Basic ${base64(`${user}:${password}`)}`};
}

/** A text in which the URLs have no user and password: `https://***@host/model.json`. */
export function withoutCredentials(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]*:\/{1,2})[^\s/?#'"]*@/gi, '$1***@');
}

/** A URL without user, password, query and fragment: what it names. Another text comes back as it is. */
export function bareUrl(text: string): string {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return text;
  const {origin, pathname} = new URL(text);
  return origin + pathname;
}

/** Base64 of the text as UTF-8. */
function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

/** Percent-encoded text; as it is if it is not. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
