// `millrace verify`: re-reads all that is archived and captured, and says of each partition what is held and what is wrong.
import type { CommandModule } from 'yargs'
import type { PartitionReport, VerifyFault } from '../archive/verify.ts'
import { isLoss, isSound, measureArchive, verifyPartition } from '../archive/verify.ts'
import { formatBytes } from '../connect/options.ts'
import { WalReader } from '../wal/reader.ts'
import type { ArchiveFlags, Reading } from './common.ts'
import { archiveFlags, openReading, printLine, say } from './common.ts'
import { showProgress } from './progress.ts'
import { alignColumns, counted } from './text.ts'

interface VerifyFlags extends ArchiveFlags {
  readonly topic?: string | undefined
}

export const verifyCommand: CommandModule<object, VerifyFlags> = {
  command: 'verify',
  describe: 'Re-read everything; report per partition what is held, gaps and damage',
  builder: yargs =>
    archiveFlags(yargs)
      .option('topic', { type: 'string', requiresArg: true, describe: 'Only this topic' })
      .example('$0 verify', 'Verify the archive, and what is captured but not archived yet')
      .example('$0 verify --topic orders --archive s3://bucket/archive', 'Verify one topic, without a worker file')
      .epilogue(
        'Exit code 1 if any batch, index or chain hash is wrong, or if offsets are missing. Gaps that are not-requested ' +
          '(before the first capture) or compacted (by Kafka itself) are listed, but are no fault; nor are batches that are ' +
          'held as they came and not indexed, since their records cannot be read.'
      ),
  async handler(flags) {
    // In the wrong folder nothing is there, and that must not pass for sound.
    await using reading = await openReading(flags, { mayBeAbsent: false })
    const reports = await verifyArchive(reading, flags.topic)
    const wal = reading.walDirectory === null ? null : verifyWal(reading.walDirectory, flags.topic)
    if (flags.json) {
      for (const report of reports) printLine(JSON.stringify(asJson(report)))
      if (wal) printLine(JSON.stringify({ wal }))
    } else {
      for (const line of lines(reports, wal)) printLine(line)
    }
    const nothing = reports.length === 0 && (wal === null || wal.frames === 0)
    if (nothing)
      say(flags.topic === undefined ? 'there is nothing to verify' : `there is nothing of topic ${flags.topic}`)
    const sound = reports.every(isSound) && (wal?.faults.length ?? 0) === 0
    if (!sound || (nothing && flags.topic !== undefined)) process.exitCode = 1
  }
}

async function verifyArchive({ archive }: Reading, topic: string | undefined): Promise<PartitionReport[]> {
  const { streams, bytes } = await measureArchive(archive, topic)
  using progress = showProgress('verifying', bytes, formatBytes)
  const reports: PartitionReport[] = []
  for (const stream of streams) reports.push(await verifyPartition(archive, stream, read => progress.add(read)))
  return reports
}

interface WalReport {
  readonly frames: number
  readonly bytes: number
  readonly faults: readonly VerifyFault[]
}

function verifyWal(directory: string, topic: string | undefined): WalReport {
  using reader = WalReader.open(directory)
  let frames = 0
  let bytes = 0
  const faults: VerifyFault[] = []
  for (const { file, key, entry, error } of reader.verifyAll()) {
    if (topic !== undefined && key !== undefined && key.topic !== topic) continue
    if (entry !== undefined) {
      frames++
      bytes += entry.bytes
    }
    if (error) faults.push({ object: `wal/${file}.wal`, offset: entry?.baseOffset ?? null, message: error.message })
  }
  return { frames, bytes, faults }
}

function asJson({ stream, ...report }: PartitionReport): object {
  return { ...stream, ok: isSound({ stream, ...report }), ...report }
}

function lines(reports: readonly PartitionReport[], wal: WalReport | null): string[] {
  const severalOf = Map.groupBy(reports, ({ stream }) => `${stream.topic}-${stream.partition}`)
  const rows = reports.map(report => {
    const { stream, from, to, segments, records, bytes } = report
    const name = `${stream.topic}-${stream.partition}`
    const incarnation = severalOf.get(name)!.length > 1 ? ` (${stream.topicId})` : ''
    const held = to > from ? `offsets ${from} to ${to - 1}` : 'nothing'
    const counts = `${counted(records, 'record')}, ${counted(segments, 'segment')}, ${formatBytes(bytes)}`
    return [isSound(report) ? 'ok   ' : 'WRONG', `${name}${incarnation}`, held, counts, remarks(report)]
  })
  const details = reports.flatMap(({ stream, gaps, notIndexed, orphans, faults }) => [
    ...gaps.map(
      gap =>
        `${gapLine(stream.topic, stream.partition)} offsets ${gap.from} to ${gap.to - 1}: ${gap.reason}${isLoss(gap) ? ', lost' : ''}`
    ),
    ...notIndexed.map(
      ({ baseOffset, lastOffset, reason }) =>
        `not indexed: ${stream.topic}-${stream.partition} offsets ${baseOffset} to ${lastOffset}: ${reason}`
    ),
    ...orphans.map(key => `leftover: ${key}`),
    ...faults.map(faultLine)
  ])
  const walLine =
    wal === null
      ? []
      : [
          `${wal.faults.length === 0 ? 'ok   ' : 'WRONG'}  WAL  ${counted(wal.frames, 'batch', 'batches')}, ${formatBytes(wal.bytes)}`
        ]
  return [...alignColumns(rows), ...walLine, ...details, ...(wal?.faults.map(faultLine) ?? [])]
}

function remarks({ gaps, notIndexed, extras, orphans, faults }: PartitionReport): string {
  const found: readonly [number, string, string?][] = [
    [faults.length, 'fault'],
    [gaps.length, 'gap'],
    [notIndexed.length, 'batch not indexed', 'batches not indexed'],
    [extras, 'extra'],
    [orphans.length, 'leftover']
  ]
  return found.flatMap(([count, ...what]) => (count > 0 ? [counted(count, ...what)] : [])).join(', ')
}

function gapLine(topic: string, partition: number): string {
  return `gap: ${topic}-${partition}`
}

function faultLine({ object, offset, message }: VerifyFault): string {
  return `fault: ${object}${offset === null ? '' : `, offset ${offset}`}: ${message}`
}
