// Finds the archived topic that a replay means, of all that ever had its name.
import type { Archive, Chain } from '../archive/archive.ts'
import { MillraceError } from '../errors.ts'

/**
 * Walks all partitions of the newest topic of that name, or of the one with that id.
 * Throws PLAN_REFUSED when the archive has none, and what the walk throws.
 */
export async function findSource(
  archive: Archive,
  { topic, topicId }: { topic: string; topicId?: string | undefined }
): Promise<[Chain, ...Chain[]]> {
  const chains: Chain[] = []
  const names = new Set<string>()
  for await (const stream of archive.partitions()) {
    names.add(stream.topic)
    if (stream.topic !== topic || (topicId !== undefined && stream.topicId !== topicId)) continue
    chains.push(await archive.walk(stream))
  }
  const incarnations = [...Map.groupBy(chains, ({ stream }) => `${stream.clusterId}/${stream.topicId}`).values()]
  const [first, ...others] = incarnations.toSorted((a, b) => beginning(b) - beginning(a))[0] ?? []
  if (first !== undefined) return [first, ...others]
  const what = topicId === undefined ? `topic ${topic}` : `topic ${topic} with the id ${topicId}`
  throw new MillraceError('PLAN_REFUSED', `${archive.store.url} holds no ${what}`, {
    hint: names.size === 0 ? 'It holds nothing yet: millrace flush archives what was captured.' : among([...names])
  })
}

/** When the first root of a topic was put: its id says nothing of its age. */
function beginning(chains: readonly Chain[]): number {
  return Math.min(...chains.map(({ root }) => (root === null ? Number.POSITIVE_INFINITY : Date.parse(root.createdAt))))
}

function among(names: readonly string[]): string {
  const shown = names.slice(0, 20).join(', ')
  return `It holds ${shown}${names.length > 20 ? ` and ${names.length - 20} more` : ''}.`
}
