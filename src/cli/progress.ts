// A bar on standard error while something long runs, for people at a terminal only.
import { SingleBar } from 'cli-progress'

export interface Progress extends Disposable {
  add(amount: number): void
}

/** A bar up to `total`; `format` makes an amount readable. Nothing is drawn where standard error is no terminal. */
export function showProgress(label: string, total: number, format: (amount: number) => string): Progress {
  if (!process.stderr.isTTY || total === 0) return { add() {}, [Symbol.dispose]() {} }
  const bar = new SingleBar({
    stream: process.stderr,
    format: `${label} [{bar}] {percentage}% · {done} of {whole} · {eta_formatted} left`,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    clearOnComplete: true,
    etaBuffer: 200
  })
  const whole = format(total)
  let done = 0
  bar.start(total, 0, { done: format(0), whole })
  return {
    add(amount) {
      done += amount
      bar.update(Math.min(done, total), { done: format(done), whole })
    },
    [Symbol.dispose]() {
      bar.stop()
    }
  }
}
