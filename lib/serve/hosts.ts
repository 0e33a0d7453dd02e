/**
 * @file Which names of this server a request may use, and which web pages may send one. Without API keys any page that a
 * browser of this machine shows could ask a server on it, and read the answers once its own name leads here (DNS
 * rebinding): so `Host` must be one of ours, and a page of another origin must have been named.
 */
import {lookup} from 'node:dns/promises';
import {BlockList, isIP, isIPv6} from 'node:net';
import type {FastifyRequest} from 'fastify';
import {ServeError} from './http-errors.js';

/** Addresses that lead to this machine alone. */
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Addresses that stand for all of a machine's. */
const EVERY_ADDRESS: ReadonlySet<string> = new Set(['0.0.0.0', '::']);
/** What browsers send without asking first whether it may be sent. */
const READING: ReadonlySet<string> = new Set(['GET', 'HEAD']);
/** What a browser says of requests that no other site caused. */
const OWN_SITES: ReadonlySet<unknown> = new Set([undefined, 'same-origin', 'none']);

/**
 * The name in a `Host` header: lower case, without port and closing dot, addresses in their shortest form and IPv6 ones
 * without brackets.
 *
 * @param host `NAME`, `NAME:PORT`, or an IPv6 address with or without brackets.
 * @returns Null for what is no host.
 */
export function hostName(host: string): string | null {
  const authority = isIPv6(host) ? `[${host}]` : host;
  if (!/^(\[[\da-f:.]+\]|[^\s/?#@\\:[\]]+)(:\d{1,5})?$/i.test(authority)) return null;
  try {
    return new URL(`http://${authority}`).hostname.replace(/^\[|\]$|\.$/g, '');
  } catch {
    return null;
  }
}

/**
 * An origin as browsers write it.
 *
 * @param text `https://page.example`, or `null`, which sandboxed pages and files have.
 * @returns Undefined for what is no origin.
 */
export function originOf(text: string): string | undefined {
  if (text === 'null') return text;
  try {
    const {origin, href} = new URL(text);
    return origin !== 'null' && href === `${origin}/` ? origin : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Whether a server that listens there can be reached from this machine alone.
 *
 * @param host A name or an address; a name is looked up.
 * @throws The system's error for a name that has no address.
 */
export async function isLoopback(host: string): Promise<boolean> {
  if (host === '') return false; // Node listens everywhere then
  const addresses = await lookup(host, {all: true});
  return addresses.every(({address}) => isLoopbackAddress(address));
}

/** What `Host` and `Origin` may be. */
export class HostCheck {
  private readonly names = new Set<string>();
  private readonly origins: ReadonlySet<string>;
  /** An address cannot be made to lead elsewhere, as a name can. */
  private takesAddresses = false;

  /**
   * @param allowed Further names of this server; `*` for any.
   * @param origins Of pages that may ask, as `originOf` gives them; `*` for any.
   */
  constructor(
    private readonly allowed: readonly string[],
    origins: readonly string[],
  ) {
    for (const host of allowed) this.names.add(hostName(host) ?? host);
    this.origins = new Set(origins);
  }

  /** Takes the name or address that the server listens at for one of its own; all addresses where it listens at all. */
  listensAt(host: string): void {
    const name = hostName(host.replace(/%.*$/, '')) ?? host; // without the zone of a link-local address
    this.names.add(name);
    if (name === '' || EVERY_ADDRESS.has(name)) this.takesAddresses = true;
  }

  /**
   * Looks at a request before anything is done for it.
   *
   * @throws {ServeError} 403 `unknown-host` or `unknown-origin`.
   */
  check({headers, method}: Pick<FastifyRequest, 'headers' | 'method'>): void {
    const {host = '', origin} = headers;
    if (!this.isOwn(host)) {
      throw new ServeError(
        403,
        'unknown-host',
        `this server is not known as ${JSON.stringify(host.slice(0, 100))}: name it with --allow-host, or give the server ` +
          'an API key',
      );
    }
    const isFromElsewhere =
      origin === undefined
        ? !READING.has(method) && !OWN_SITES.has(headers['sec-fetch-site'])
        : !this.mayAsk(origin, host);
    if (!isFromElsewhere) return;
    throw new ServeError(
      403,
      'unknown-origin',
      `pages of ${JSON.stringify((origin ?? 'another site').slice(0, 100))} may not ask this server: name the origin with --cors`,
    );
  }

  private isOwn(host: string): boolean {
    if (this.allowed.includes('*')) return true;
    const name = hostName(host);
    if (name === null) return false;
    if (this.names.has(name) || name === 'localhost' || name.endsWith('.localhost')) return true;
    return isIP(name) !== 0 && (this.takesAddresses || isLoopbackAddress(name));
  }

  private mayAsk(origin: string, host: string): boolean {
    if (this.origins.has('*') || this.origins.has(origin)) return true;
    try {
      const page = new URL(origin);
      // The server may stand behind a proxy that speaks https for it: ports that a scheme implies are left out alike.
      return page.host === new URL(`${page.protocol}//${host}`).host;
    } catch {
      return false;
    }
  }
}

function isLoopbackAddress(address: string): boolean {
  return LOOPBACK.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}
