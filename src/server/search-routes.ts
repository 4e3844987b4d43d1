// The calls that give records: search, read, suggest. Their work is done in the search thread, and what comes from there is
// a finished answer: here is only what HTTP adds.
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { MillraceError } from '../errors.ts'
import type { FollowState } from '../search/follow.ts'
import { followed, streamLines } from './follow-stream.ts'
import type { SearchParameters } from './parameters.ts'
import { readParameters, recordsParameters, searchParameters, selectionOf, suggestParameters } from './parameters.ts'
import type { Searcher } from './searcher.ts'

/** Clients that follow: each makes the search thread look again and again. */
const MAX_FOLLOWERS = 16

/** At shutdown, how long answers that are under way may take. */
const DRAIN_MS = 5_000

/**
 * Adds the calls to a scope where whoever may not call them has been refused. The result is to be called at shutdown: it ends
 * what follows, lets nothing new begin, and resolves when all that was asked is answered, or takes too long.
 */
export function addSearchRoutes(
  server: FastifyInstance,
  searcher: Pick<Searcher, 'call' | 'drain'>
): () => Promise<void> {
  const stopping = new AbortController()
  const answers = new Set<ServerResponse>()
  let followers = 0

  server.addHook('onRequest', async (_request, { raw }) => {
    answers.add(raw)
    raw.once('close', () => answers.delete(raw))
  })

  server.get('/v1/search', async (request, reply) => {
    const parameters = readParameters(searchParameters, request.query)
    const asked = { query: parameters.q, selection: selectionOf(parameters) }
    const gone = clientGone(reply)
    if (!parameters.follow) {
      return sendJson(reply, await searcher.call(parameters.count ? 'count' : 'search', asked, gone))
    }
    checkFollow(parameters)
    if (followers >= MAX_FOLLOWERS) {
      throw new MillraceError('SEARCH_BUSY', `${MAX_FOLLOWERS} clients follow already`, { hint: 'Ask again later.' })
    }
    followers++
    try {
      // What is wrong with the query is said before an answer begins.
      const first = await searcher.call('follow', { ...asked, state: null }, gone)
      const signal = AbortSignal.any([gone, stopping.signal])
      const look = (state: FollowState) => searcher.call('follow', { ...asked, state }, signal)
      await streamLines(reply, followed(first, look, signal))
    } finally {
      followers--
    }
    return reply
  })

  server.get('/v1/records', async (request, reply) => {
    const parameters = readParameters(recordsParameters, request.query)
    const answer = await searcher.call('records', parameters, clientGone(reply))
    if (answer !== null) return sendJson(reply, answer)
    const { topic, partition, 'topic-id': topicId } = parameters
    const message = `there is nothing of ${topic}-${partition}${topicId === undefined ? '' : ` with the id ${topicId}`}`
    return reply.status(404).send({ error_code: 404, message })
  })

  server.get('/v1/search/suggest', async (request, reply) => {
    const parameters = readParameters(suggestParameters, request.query)
    return sendJson(reply, await searcher.call('suggest', parameters, clientGone(reply)))
  })

  return async () => {
    stopping.abort()
    searcher.drain()
    const signal = AbortSignal.timeout(DRAIN_MS)
    await Promise.allSettled([...answers].map(raw => once(raw, 'close', { signal })))
  }
}

/** Aborted when the connection is, and when the answer is through. */
function clientGone(reply: FastifyReply): AbortSignal {
  const gone = new AbortController()
  reply.raw.once('close', () => gone.abort(new Error('the client has gone')))
  return gone.signal
}

function sendJson(reply: FastifyReply, json: Uint8Array): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(json)
}

function checkFollow(parameters: SearchParameters): void {
  for (const name of ['count', 'order', 'cursor', 'to'] as const) {
    if (parameters[name]) throw new MillraceError('USAGE', `${name}: cannot be used with follow=true`)
  }
}
