// The topic that a replay goes to: what is refused because it would do harm, and how one that is not there is made.
import { setTimeout as delay } from 'node:timers/promises'
import { MillraceError } from '../errors.ts'
import type { Admin } from '../kafka/admin.ts'
import type { Cluster } from '../kafka/cluster.ts'
import { EARLIEST, LATEST } from '../kafka/cluster.ts'
import type { TopicSettings } from '../kafka/topic-settings.ts'
import type { ReplayPlan } from './plan.ts'

/** A topic that is there. */
export interface ExistingTopic {
  readonly clusterId: string
  readonly topicId: string
  readonly partitionCount: number
  readonly settings: TopicSettings
  readonly isEmpty: boolean
}

export interface TargetOptions {
  /** Let the broker put its own time in place of each record's. */
  readonly acceptNewTimestamps: boolean
  /** Add to what is there. */
  readonly append: boolean
}

const FOREVER = String(2n ** 63n - 1n)

/**
 * The settings of a topic that a replay makes. Each is named, since a broker's defaults may be others: nothing may be
 * deleted or compacted for its age, every archived time and batch is taken (104857600 is what a broker reads as one
 * request), and nothing is recompressed.
 */
export const restoredTopicSettings = {
  'cleanup.policy': 'delete',
  'retention.ms': '-1',
  'retention.bytes': '-1',
  'compression.type': 'producer',
  'max.message.bytes': '104857600',
  'message.timestamp.type': 'CreateTime',
  'message.timestamp.before.max.ms': FOREVER,
  'message.timestamp.after.max.ms': FOREVER
} as const satisfies Record<string, string>

/** What there is of a topic; null if it does not exist. Throws BROKER_ERROR, BROKER_UNREACHABLE. */
export async function inspectTopic(cluster: Cluster, topic: string): Promise<ExistingTopic | null> {
  const [found] = await cluster.refresh([topic])
  if (found === undefined) return null
  let isEmpty = true
  for (const partition of found.leaders.keys()) {
    const at = { topic, partition }
    isEmpty &&= (await cluster.listOffset(at, EARLIEST)) === (await cluster.listOffset(at, LATEST))
  }
  return {
    clusterId: await cluster.clusterId(),
    topicId: found.topicId,
    partitionCount: found.leaders.size,
    settings: await cluster.topicSettings(topic),
    isEmpty
  }
}

/** Throws PLAN_REFUSED, with what to do, when the replay into this topic would lose, spoil or double records. */
export function checkTarget(
  plan: ReplayPlan,
  topic: string,
  target: ExistingTopic,
  options: TargetOptions,
  now: number = Date.now()
): void {
  const refused = (what: string, hint: string) =>
    new MillraceError('PLAN_REFUSED', `topic ${topic} cannot take this replay: ${what}`, { hint })
  if (target.clusterId === plan.clusterId && target.topicId === plan.topicId) {
    const why = 'it is the very topic that was archived, so every record would be in it twice'
    throw refused(why, 'Name another topic with --to-topic, or another cluster with --bootstrap.')
  }
  const needed = Math.max(...plan.partitions.map(({ stream }) => stream.partition)) + 1
  if (target.partitionCount < needed) {
    throw refused(`it has ${target.partitionCount} partitions, ${needed} are needed`, elsewhere)
  }
  if (!target.isEmpty && !options.append) {
    const hint = 'Name a new topic with --to-topic, or add to this one with --append.'
    throw refused('it is not empty, and a second replay would double what the first one brought', hint)
  }
  if (target.settings.timestampType === 'LogAppendTime' && !options.acceptNewTimestamps) {
    const hint = 'Name a new topic with --to-topic, or let it with --accept-new-timestamps.'
    throw refused('its message.timestamp.type is LogAppendTime, which gives every record a new timestamp', hint)
  }
  const loss = whatItWouldLose(plan, target.settings, now)
  if (loss !== null) throw refused(loss, elsewhere)
}

const elsewhere =
  "Name a new topic with --to-topic: it is made as the replay needs it. Or change this topic's settings."

function whatItWouldLose(plan: ReplayPlan, settings: TopicSettings, now: number): string | null {
  const { cleanupPolicy, retentionMs, retentionBytes, timestampBeforeMaxMs, timestampAfterMaxMs } = settings
  if (cleanupPolicy.includes('compact')) {
    return 'its cleanup.policy is compact, which removes records and refuses those without a key'
  }
  const bytes = Math.max(...plan.partitions.map(({ logBytes }) => logBytes))
  if (bytes > retentionBytes) {
    return `its retention.bytes is ${retentionBytes}, less than the ${bytes} bytes of the largest partition`
  }
  if (settings.timestampType === 'LogAppendTime') return null
  const oldest = least(plan.partitions.map(partition => partition.oldest))
  const newest = -least(plan.partitions.map(({ newest }) => newest && -newest))
  if (oldest < now - retentionMs) {
    return `its retention.ms is ${retentionMs}, and the oldest record is of ${iso(oldest)}: it would be deleted`
  }
  if (oldest < now - timestampBeforeMaxMs) {
    return `its message.timestamp.before.max.ms is ${timestampBeforeMaxMs}, and the oldest record is of ${iso(oldest)}`
  }
  if (newest > now + timestampAfterMaxMs) {
    return `its message.timestamp.after.max.ms is ${timestampAfterMaxMs}, and the newest record is of ${iso(newest)}`
  }
  return null
}

/** Infinite without any, so that no limit is met. */
function least(times: readonly (number | null)[]): number {
  return times.reduce<number>((min, time) => (time === null ? min : Math.min(min, time)), Number.POSITIVE_INFINITY)
}

function iso(time: number): string {
  return new Date(time).toISOString()
}

const LEADERS_WITHIN_MS = 30_000
const POLL_MS = 50

/** Makes the topic and waits until each partition has a leader. Throws BROKER_ERROR; PLAN_REFUSED if it has come to be meanwhile. */
export async function createTarget(cluster: Cluster, admin: Admin, topic: string, partitions: number): Promise<void> {
  if (!(await admin.createTopic(topic, partitions, restoredTopicSettings))) {
    throw new MillraceError('PLAN_REFUSED', `topic ${topic} was made by someone else in this moment`, {
      hint: 'Try again.'
    })
  }
  const deadline = performance.now() + LEADERS_WITHIN_MS
  for (;;) {
    const [found] = await cluster.refresh([topic])
    const led = [...(found?.leaders.values() ?? [])].filter(leader => leader >= 0)
    if (led.length === partitions) return
    if (performance.now() > deadline) throw new MillraceError('TIMEOUT', `the new topic ${topic} has no leaders yet`)
    await delay(POLL_MS)
  }
}
