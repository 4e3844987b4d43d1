// Which names a topic may have. Source: org.apache.kafka.common.internals.Topic.

const MAX_LENGTH = 249

/** Why a name cannot be a topic's, as the end of a sentence; null where it can. */
export function topicNameFault(name: string): string | null {
  if (name === '') return 'the empty string is not allowed'
  if (name === '.' || name === '..') return `'${name}' is not allowed`
  if (name.length > MAX_LENGTH) return `it is longer than ${MAX_LENGTH} characters`
  if (!/^[a-zA-Z0-9._-]+$/.test(name))
    return `'${name}' contains other characters than ASCII letters, digits, '.', '_' and '-'`
  return null
}

/** Whether a topic may have this name. */
export function isTopicName(name: string): boolean {
  return topicNameFault(name) === null
}
