// `--command-config FILE`: how to speak to the cluster that `--bootstrap` names, in a file that Kafka's own tools take too.
import type { ConfigFile } from '../connect/config-file.ts'
import { readConfigFile } from '../connect/config-file.ts'
import { formatFault, parseOptions } from '../connect/options.ts'
import { readSecurity, securityOptions } from '../connect/security-options.ts'
import { MillraceError } from '../errors.ts'
import type { Security } from '../kafka/security.ts'

/** Kafka's tools have other keys beside, which say nothing to us; of these every one has to be understood. */
const OURS = /^(security|ssl|sasl)\./

/** Throws CONFIG_INVALID, with a line for each fault. */
export function readCommandConfig(file: string): Security {
  const { values, fault }: ConfigFile = readConfigFile(file)
  const ours = new Map([...values].filter(([key]) => OURS.test(key)))
  const parsed = parseOptions(securityOptions, ours, file)
  const faults = fault === undefined ? parsed.faults : [fault]
  const security = readSecurity(parsed.values, faults, () => file)
  if (faults.length > 0) throw new MillraceError('CONFIG_INVALID', faults.map(formatFault).join('\n'))
  return security
}
