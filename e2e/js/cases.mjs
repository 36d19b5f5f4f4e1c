// Runs the cases of a client program one after the other and counts them.
//
// A case is a sentence and a function. The closing line `N passed, N failed` is what the suite reads: a program that ends
// without it has failed.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

export const BASE_URL = process.env.BASE_URL;

// Made up; only the shape is a provider's.
export const ANTHROPIC_KEY = "sk-ant-api03-made-up-for-tests";
export const OPENAI_KEY = "sk-made-up-for-tests";

// A client that waits for longer than this on loopback has hung.
export const PATIENCE_MS = 30_000;

const cases = [];

/** Registers a case. */
export function it(sentence, run) {
  cases.push({ sentence, run });
}

/** Runs all cases and exits: 0 where all passed. */
export async function runAll() {
  let failed = 0;
  for (const { sentence, run } of cases) {
    const started = performance.now();
    try {
      await run();
      const seconds = (performance.now() - started) / 1000;
      console.log(`ok   ${sentence} (${seconds.toFixed(1)} s)`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${sentence}\n${error?.stack ?? error}`);
    }
  }
  console.log(`${cases.length - failed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

/** A word that no other prompt holds: the provider counts limited faults by prompt. */
export const unique = () => randomUUID().slice(0, 13);

/** Counts the requests a client really sends, with the time of each. */
export class Attempts {
  times = [];

  fetch = (url, init) => {
    this.times.push(performance.now());
    return fetch(url, init);
  };

  /** Milliseconds between the first two. */
  get gap() {
    return this.times[1] - this.times[0];
  }
}

/** The error of this kind that `act` ends with. */
export async function rejects(kind, act) {
  try {
    await act();
  } catch (error) {
    assert.ok(error instanceof kind, `${error?.constructor?.name} is no ${kind.name}: ${error?.stack}`);
    return error;
  }
  assert.fail(`no ${kind.name}`);
}

/** All of a stream's events. */
export async function collect(stream) {
  const events = [];
  for await (const event of await stream) events.push(event);
  return events;
}
