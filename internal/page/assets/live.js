// The stream of changes: opened, watched, opened again. While the daemon can't
// be reached it is tried more and more rarely; where it has too many streams,
// the page asks from time to time.

const FIRST = 1; // seconds before the first new attempt
const LAST = 30;
const SILENT = 12_000; // ms without a sign of life that count as an end
const ASK = 10; // seconds between two questions, where no stream is to be had
const HIDDEN = 60_000; // ms until a page that nobody sees ends its stream

export class Live {
  constructor(on) {
    this.on = on;
    this.last = new Date(); // when the daemon was heard of
    this.pause = FIRST;
    this.timers = {};
    document.addEventListener('visibilitychange', () => this.seen());
    window.addEventListener('online', () => this.now());
    window.addEventListener('pagehide', () => this.stop());
    window.addEventListener('pageshow', (e) => { if (e.persisted) this.now(); });
  }

  /** Opens a stream for what the address says. */
  look() {
    this.stop();
    const stream = new EventSource(`stream${location.search}`);
    this.stream = stream;
    this.opening = true;
    stream.addEventListener('section', (e) => {
      const { id, html } = JSON.parse(e.data);
      this.on.section(id, html);
    });
    stream.addEventListener('tick', (e) => this.heard(new Date(e.data), 'stream'));
    stream.addEventListener('error', () => this.ended());
    this.watch();
  }

  /** Tries at once. */
  now() {
    this.pause = FIRST;
    this.look();
  }

  stop() {
    this.stream?.close();
    this.stream = null;
    for (const t of Object.values(this.timers)) clearTimeout(t);
  }

  heard(at, how) {
    this.last = new Date();
    this.pause = FIRST;
    this.on.fresh(Number.isNaN(at.getTime()) ? this.last : at, how);
    if (how === 'stream') {
      this.asked = false;
      this.watch();
    }
  }

  watch() {
    clearTimeout(this.timers.silent);
    this.timers.silent = setTimeout(() => this.ended(), SILENT);
  }

  /** The stream is over: asks whether the daemon is. */
  async ended() {
    this.stop();
    const since = this.last;
    let answer = null;
    try {
      answer = await fetch(`part/health${location.search}`, { signal: AbortSignal.timeout(5000) });
    } catch {
      // It is not there.
    }
    if (this.stream) return; // opened again meanwhile
    if (answer?.ok) {
      this.on.section('health', await answer.text());
      // A stream that just broke off is opened again at once.
      const again = this.asked;
      if (again) await this.rest();
      if (this.stream) return;
      this.asked = true;
      this.heard(new Date(), ASK);
      this.again(again ? ASK : FIRST);
      return;
    }
    this.asked = false;
    const next = Math.round(this.pause * (0.8 + 0.4 * Math.random()));
    this.pause = Math.min(this.pause * 2, LAST);
    this.again(Math.max(1, next), since);
  }

  /** The parts besides health, where there is no stream. */
  async rest() {
    for (const id of ['hosts', 'space', 'names', 'dns', 'events']) {
      const answer = await fetch(`part/${id}${location.search}`, { signal: AbortSignal.timeout(8000) }).catch(() => null);
      if (answer?.ok) this.on.section(id, await answer.text());
    }
  }

  /** Tries again after some seconds, which are counted where people wait. */
  again(seconds, lostSince) {
    if (lostSince) this.on.lost(lostSince, seconds);
    if (seconds <= 0) {
      this.look();
      return;
    }
    this.timers.again = setTimeout(() => this.again(seconds - 1, lostSince), 1000);
  }

  seen() {
    clearTimeout(this.timers.hidden);
    if (document.hidden) this.timers.hidden = setTimeout(() => { this.stop(); this.slept = true; }, HIDDEN);
    else if (this.slept) { this.slept = false; this.now(); }
  }
}
