// The time of a run that is still going on, between its events.

export class Clock {
  #ahead = -Infinity; // the run's seconds minus ours; the event that came fastest knows best

  heard(at) {
    this.#ahead = Math.max(this.#ahead, at - seconds());
  }

  now() {
    return Math.max(0, this.#ahead + seconds());
  }
}

const seconds = () => performance.now() / 1000;
