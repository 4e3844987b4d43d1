// The least that stands between a client and a broker: `node bench/pipe.ts PORT TARGET-PORT` pipes bytes both ways. Prints a
// line when it listens.
import net from 'node:net'

const [port, target] = process.argv.slice(2).map(Number)
const server = net.createServer({ noDelay: true }, client => {
  const broker = net.connect({ host: '127.0.0.1', port: target!, noDelay: true })
  client.pipe(broker).pipe(client)
  client.on('error', () => broker.destroy())
  broker.on('error', () => client.destroy())
})
server.listen(port, '127.0.0.1', () => process.stdout.write('ready\n'))
