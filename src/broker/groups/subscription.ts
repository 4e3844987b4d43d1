// What the members of a consumer group are subscribed to, as far as a coordinator can see it: from the metadata that
// consumers join with. Source: GroupMetadataManager (computeSubscribedTopics), ConsumerProtocolSubscription.json.
import { isMillraceError } from '../../errors.ts'
import { Cursor } from '../../kafka/cursor.ts'
import { array, int16, string } from '../../kafka/wire.ts'
import type { Group } from './group.ts'

/** Every version of the subscription begins with these; what follows is of no concern here. */
const topicsField = array(string)
const firstVersion = { version: 0, flexible: false }

/** Whether members read this topic, or may: a consumer group of which it cannot be told is taken to. */
export function isSubscribed(group: Group, topic: string): boolean {
  if (group.roster.protocolType !== 'consumer' || group.roster.size === 0) return false
  const { protocol } = group
  if (protocol === null) return true
  const metadata = [...group.roster].filter(member => member.supports(protocol)).map(m => m.metadata(protocol))
  return metadata.some(bytes => readTopics(bytes)?.includes(topic) ?? true)
}

function readTopics(metadata: Buffer): string[] | undefined {
  try {
    const cursor = new Cursor(metadata)
    int16.read(cursor, firstVersion)
    return topicsField.read(cursor, firstVersion)
  } catch (error) {
    if (isMillraceError(error, 'WIRE_CORRUPT')) return undefined
    throw error
  }
}
