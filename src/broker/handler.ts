// What answers one API: the protocol server takes a list of these, and offers clients exactly what is in it.

import type { Address } from '../kafka/address.ts'
import type { Api, RequestOf, ResponseOf } from '../kafka/api.ts'

/** What a handler knows of the request beside its body. */
export interface RequestContext {
  readonly version: number
  readonly clientId: string
  /** The client's address, as DescribeGroups shows it. */
  readonly clientHost: string
  /** Where this client is to find the server: what it is told in Metadata and FindCoordinator. */
  readonly advertised: Address
  /** Aborted when the client's connection closes or the server stops: nobody waits for the answer any more. */
  readonly signal: AbortSignal
}

export interface Handler {
  readonly api: Api
  /** The lowest version that is advertised, as Kafka 4.3 does; it may be lower than what the table describes. */
  readonly advertisedMin: number
  /** True where the next request of a connection may be begun before this one is answered. */
  readonly pipelined: boolean
  /** The answer, null where none is sent (Produce with acks=0). What it throws closes the connection. */
  handle(request: any, context: RequestContext): Promise<any>
}

export interface HandlerOptions {
  /** By default the table's own lowest version. */
  readonly advertisedMin?: number
  readonly pipelined?: boolean
}

/** Gives a handler its types. */
export function handler<A extends Api>(
  api: A,
  handle: (request: RequestOf<A>, context: RequestContext) => Promise<ResponseOf<A> | null>,
  { advertisedMin = api.versions[0], pipelined = false }: HandlerOptions = {}
): Handler {
  return { api, advertisedMin, pipelined, handle }
}

/** Told of what went wrong where no caller can be: `where` names the client or the partition. */
export type ReportError = (error: unknown, where: string) => void
