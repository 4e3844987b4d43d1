// FindCoordinator: this node, for every consumer group.
import type { Address } from '../kafka/address.ts'
import { KafkaError } from '../kafka/kafka-errors.ts'
import { findCoordinator } from '../kafka/messages.ts'
import type { Handler } from './handler.ts'
import { handler } from './handler.ts'
import { NODE_ID } from './metadata.ts'

export interface FindCoordinatorOptions {
  /** Whether consumer groups are served. */
  readonly groups: boolean
}

interface Found extends Address {
  readonly errorCode: number
  readonly errorMessage: string | null
  readonly nodeId: number
}

/** Coordinator types (FindCoordinatorRequest.CoordinatorType). */
const GROUP = 0
const TRANSACTION = 1

/** Names this node for groups, and says why it does not for anything else. */
export function findCoordinatorHandler({ groups }: FindCoordinatorOptions): Handler {
  return handler(findCoordinator, async ({ keyType = GROUP, coordinatorKeys = [] }, { version, advertised }) => {
    const found = find(keyType, groups, advertised)
    return version < 4 ? found : { coordinators: coordinatorKeys.map(key => ({ key, ...found })) }
  })
}

function find(keyType: number, groups: boolean, { host, port }: Address): Found {
  if (keyType === GROUP && groups) {
    return { errorCode: KafkaError.NONE, errorMessage: null, nodeId: NODE_ID, host, port }
  }
  // With COORDINATOR_NOT_AVAILABLE clients would ask again and again; these codes they report.
  if (keyType === GROUP) {
    return refused(KafkaError.GROUP_AUTHORIZATION_FAILED, 'Consumer groups are switched off here (--no-groups).')
  }
  if (keyType !== TRANSACTION) return refused(KafkaError.INVALID_REQUEST, 'Share groups are not supported here.')
  // librdkafka takes no other code for an answer to this.
  return refused(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, 'Transactions are not supported here.')
}

function refused(errorCode: number, errorMessage: string): Found {
  return { errorCode, errorMessage, nodeId: -1, host: '', port: -1 }
}
