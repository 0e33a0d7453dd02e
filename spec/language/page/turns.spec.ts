import {expect} from 'chai';
import {Turns} from '../../../lib/language/page/turns.js';
import {failureOf} from '../../support/language/hosted.js';

/** Work that ends when it is told to. */
function work(log: string[], name: string) {
  let end = () => {};
  const ended = new Promise<void>((resolve) => (end = resolve));
  const run = async () => {
    log.push(`+${name}`);
    await ended;
    log.push(`-${name}`);
    return name;
  };
  return {run, end};
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('turns', () => {
  it('let those that read run together, and one that changes alone, in their order', async () => {
    const [turns, log] = [new Turns(), [] as string[]];
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => work(log, name));
    const results = [turns.shared(a.run), turns.shared(b.run), turns.alone(c.run), turns.shared(d.run)];
    await settle();
    expect(log).to.deep.equal(['+a', '+b']);
    b.end();
    await settle();
    expect(log).to.deep.equal(['+a', '+b', '-b']);
    a.end();
    await settle();
    expect(log.slice(3)).to.deep.equal(['-a', '+c']);
    c.end();
    d.end();
    expect(await Promise.all(results)).to.deep.equal(['a', 'b', 'c', 'd']);
    expect(log.slice(5)).to.deep.equal(['-c', '+d', '-d']);
  });

  it('go on after work that fails', async () => {
    const turns = new Turns();
    const failing = () => Promise.reject(new Error('no'));
    const results = [turns.shared(failing), turns.alone(failing), turns.alone(failing)];
    for (const result of results) expect(await failureOf(result)).to.have.property('message', 'no');
    expect(await turns.alone(() => 1)).to.equal(1);
    expect(await turns.shared(() => 2)).to.equal(2);
  });

  it('let changes wait for one another', async () => {
    const [turns, log] = [new Turns(), [] as string[]];
    const [a, b] = ['a', 'b'].map((name) => work(log, name));
    const results = [turns.alone(a.run), turns.alone(b.run)];
    await settle();
    b.end();
    await settle();
    expect(log).to.deep.equal(['+a']);
    a.end();
    await Promise.all(results);
    expect(log).to.deep.equal(['+a', '-a', '+b', '-b']);
  });
});
