/** @file Turns of the event loop in a browser, where no function of the platform gives one away. */
import {expect} from 'chai';
import {inBrowser} from '../support/browser/in-browser.js';
import type * as entry from './pages/event-loop.js';

const FILE = 'spec/browser/pages/event-loop.ts';

describe('a turn of the event loop', () => {
  const browser = inBrowser();
  const places = {'a page': browser.in<typeof entry>(FILE), 'a worker': browser.inWorker<typeof entry>(FILE)};
  for (const [place, functions] of Object.entries(places)) {
    it(`lets messages and timers be heard in ${place}, and waits for no frame`, async () => {
      const {firstTurn, heard, frames} = await functions.heardAmidTurns(2000);
      expect(firstTurn).to.include('message');
      expect(heard).to.deep.equal(['message', 'timer']);
      expect(frames).to.be.below(1000);
    });

    it(`comes in the order in which it was asked for in ${place}`, async () => {
      expect(await functions.order(5)).to.deep.equal([0, 1, 2, 3, 4]);
    });
  }
});
