// An answer that goes on: the matches of a search as they come, as long as the client listens.
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as pause } from 'node:timers/promises'
import type { FastifyReply } from 'fastify'
import { isMillraceError, messageOf } from '../errors.ts'
import type { FollowState } from '../search/follow.ts'
import type { FollowAnswer } from './answers.ts'

/** How long after a look that found nothing the next one comes. */
const FOLLOW_MS = 500
/** A client whose machine has gone without a word is noticed by TCP's own probes, which begin after so long a silence. */
const PROBE_AFTER_MS = 30_000

const NO_LINES = new Uint8Array()

/** What the next look may not meet again: too many searches, a store that is away, objects that were replaced while they were read. */
function isPassing(error: unknown): boolean {
  return isMillraceError(error) && (error.retriable || error.code === 'OBJECT_MISSING')
}

/** Lines as they come, until the signal. What goes wrong is the last line, as there is no status any more to say it. */
export async function* followed(
  first: FollowAnswer,
  look: (state: FollowState) => Promise<FollowAnswer>,
  signal: AbortSignal
): AsyncGenerator<Uint8Array> {
  let { lines, state } = first
  while (!signal.aborted) {
    if (lines.length > 0) yield lines
    else await pause(FOLLOW_MS, undefined, { signal }).catch(() => {})
    try {
      ;({ lines, state } = await look(state))
    } catch (error) {
      if (signal.aborted) return
      if (!isPassing(error)) {
        yield Buffer.from(`${JSON.stringify({ error_code: 500, message: messageOf(error) })}\n`)
        return
      }
      lines = NO_LINES
    }
  }
}

/** Sends lines as fast as the client takes them. */
export async function streamLines(reply: FastifyReply, lines: AsyncIterable<Uint8Array>): Promise<void> {
  reply.hijack()
  const { raw } = reply
  raw.socket?.setKeepAlive(true, PROBE_AFTER_MS)
  raw.writeHead(200, { 'content-type': 'application/x-ndjson' })
  raw.flushHeaders()
  // It fails when the client has gone, which is how this ends.
  await pipeline(Readable.from(lines, { objectMode: false }), raw).catch(() => {})
}
