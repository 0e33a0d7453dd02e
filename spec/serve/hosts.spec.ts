import {expect} from 'chai';
import {HostCheck, hostName, isLoopback, originOf} from '../../lib/serve/hosts.js';

const PAGE = 'https://page.example';

describe('the name in a Host header', () => {
  for (const [host, name] of [
    ['localhost', 'localhost'],
    ['LocalHost:8501', 'localhost'],
    ['localhost.', 'localhost'],
    ['localhost.:80', 'localhost'],
    ['127.0.0.1:8501', '127.0.0.1'],
    ['127.0.0.1.', '127.0.0.1'],
    ['[::1]', '::1'],
    ['[::1]:8501', '::1'],
    ['::1', '::1'],
    ['[0:0:0:0:0:0:0:1]:1', '::1'],
    ['evil.example:80', 'evil.example'],
    ['', null],
    ['localhost@evil.example', null],
    ['localhost/evil.example', null],
    ['localhost evil.example', null],
    ['localhost:', null],
    ['localhost:99999', null],
    ['[localhost]', null],
  ] as const) {
    it(`of ${JSON.stringify(host)} is ${name}`, () => expect(hostName(host)).to.equal(name));
  }
});

describe('an origin', () => {
  for (const [text, origin] of [
    ['https://page.example', PAGE],
    ['HTTPS://Page.Example:443/', PAGE],
    ['http://page.example:8080', 'http://page.example:8080'],
    ['null', 'null'],
    ['https://page.example/path', undefined],
    ['page.example', undefined],
    ['file:///index.html', undefined],
    ['*', undefined],
  ] as const) {
    it(`in ${text} is ${origin}`, () => expect(originOf(text)).to.equal(origin));
  }
});

describe('what is reached from this machine alone', () => {
  for (const [host, expected] of [
    ['127.0.0.1', true],
    ['127.9.9.9', true],
    ['localhost', true],
    ['::1', true],
    ['::ffff:127.0.0.1', true],
    ['0.0.0.0', false],
    ['::', false],
    ['', false],
    ['192.0.2.1', false],
    ['::ffff:192.0.2.1', false],
  ] as const) {
    it(`${expected ? 'holds' : 'does not hold'} "${host}"`, async () => {
      expect(await isLoopback(host)).to.equal(expected);
    });
  }
});

describe('a check of hosts and origins', () => {
  type Headers = Readonly<Record<string, string>>;
  /** The code that a request is refused with, or 'answered'. */
  const verdict = (check: HostCheck, headers: Headers, method = 'POST'): string => {
    try {
      check.check({headers, method});
      return 'answered';
    } catch (error) {
      const {status, code} = error as {status: number; code: string};
      return `${status} ${code}`;
    }
  };
  const local = () => {
    const check = new HostCheck([], [PAGE]);
    check.listensAt('127.0.0.1');
    return check;
  };

  for (const host of [
    'localhost:8501',
    'LOCALHOST',
    'localhost.:8501',
    'app.localhost:8501',
    '127.0.0.1:8501',
    '127.0.0.2',
    '[::1]:8501',
    '[::ffff:127.0.0.1]',
  ]) {
    it(`answers ${host}`, () => expect(verdict(local(), {host})).to.equal('answered'));
  }

  for (const host of [
    'evil.example:8501',
    'localhost.evil.example',
    'evillocalhost',
    '127.0.0.1.evil.example',
    'localhost@evil.example',
    '192.0.2.1:8501',
    '0.0.0.0:8501',
    '[::]:8501',
    '[2001:db8::1]',
    '',
  ]) {
    it(`refuses "${host}"`, () => expect(verdict(local(), {host})).to.equal('403 unknown-host'));
  }

  it('refuses a request without Host, and a page that reads under a name of its own', () => {
    expect(verdict(local(), {})).to.equal('403 unknown-host');
    expect(verdict(local(), {host: 'evil.example'}, 'GET')).to.equal('403 unknown-host');
  });

  it('answers names that were allowed, with any port, and all for *', () => {
    const check = new HostCheck(['Models.Example', '::2'], []);
    expect(verdict(check, {host: 'models.example.:443'})).to.equal('answered');
    expect(verdict(check, {host: '[::2]:443'})).to.equal('answered');
    expect(verdict(check, {host: 'a.models.example'})).to.equal('403 unknown-host');
    expect(verdict(new HostCheck(['*'], []), {host: 'evil.example'})).to.equal('answered');
  });

  it('answers the name and the address that the server listens at', () => {
    const check = new HostCheck([], []);
    check.listensAt('Models.Example');
    expect(verdict(check, {host: 'models.example:8501'})).to.equal('answered');
    expect(verdict(check, {host: '192.0.2.1'})).to.equal('403 unknown-host');
    check.listensAt('192.0.2.1');
    expect(verdict(check, {host: '192.0.2.1'})).to.equal('answered');
    expect(verdict(check, {host: '192.0.2.2'})).to.equal('403 unknown-host');
    check.listensAt('fe80::1%eth0');
    expect(verdict(check, {host: '[fe80::1]:8501'})).to.equal('answered');
    expect(verdict(check, {host: '192.0.2.2'})).to.equal('403 unknown-host');
  });

  for (const everywhere of ['0.0.0.0', '::', '0:0:0:0:0:0:0:0', '']) {
    it(`answers every address, but no other name, at "${everywhere}"`, () => {
      const check = new HostCheck([], []);
      check.listensAt(everywhere);
      for (const host of ['192.0.2.1:8501', '[2001:db8::1]:8501', '0.0.0.0:8501', 'localhost']) {
        expect(verdict(check, {host})).to.equal('answered');
      }
      expect(verdict(check, {host: 'evil.example'})).to.equal('403 unknown-host');
    });
  }

  for (const [what, headers, method, expected] of [
    ['a program', {}, 'POST', 'answered'],
    ['its own page', {origin: 'http://localhost:8501'}, 'POST', 'answered'],
    ['its own page behind a proxy for https', {origin: 'https://localhost:8501'}, 'POST', 'answered'],
    ['a page that was named', {origin: PAGE}, 'POST', 'answered'],
    ['a page of another port', {origin: 'http://localhost:3000'}, 'POST', '403 unknown-origin'],
    ['a page of another site', {origin: 'https://evil.example'}, 'POST', '403 unknown-origin'],
    ['a page that asks whether it may', {origin: 'https://evil.example'}, 'OPTIONS', '403 unknown-origin'],
    ['a page of another site that reads', {origin: 'https://evil.example'}, 'GET', '403 unknown-origin'],
    ['a file or a sandboxed page', {origin: 'null'}, 'POST', '403 unknown-origin'],
    ['what is no origin', {origin: 'localhost:8501'}, 'POST', '403 unknown-origin'],
    ['a browser that hides the origin', {'sec-fetch-site': 'cross-site'}, 'POST', '403 unknown-origin'],
    ['a browser, of its own page', {'sec-fetch-site': 'same-origin'}, 'POST', 'answered'],
    ['a link on another site', {'sec-fetch-site': 'cross-site'}, 'GET', 'answered'],
  ] as const) {
    it(`says "${expected}" to ${what}`, () => {
      expect(verdict(local(), {host: 'localhost:8501', ...headers}, method)).to.equal(expected);
    });
  }

  it('takes a port that the scheme implies for none', () => {
    expect(verdict(local(), {host: 'localhost', origin: 'https://localhost:443'})).to.equal('answered');
    expect(verdict(local(), {host: 'localhost:80', origin: 'http://localhost'})).to.equal('answered');
    expect(verdict(local(), {host: 'localhost:80', origin: 'https://localhost'})).to.equal(
      '403 unknown-origin',
    );
  });

  it('answers pages of all origins for *', () => {
    const check = new HostCheck([], ['*']);
    expect(verdict(check, {host: 'localhost', origin: 'https://evil.example'})).to.equal('answered');
  });
});
