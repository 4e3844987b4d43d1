// The syntax of sasl.jaas.config, as Kafka's documentation writes it and as people do.
import { expect, test } from 'vitest'
import { parseJaas } from '../../src/kafka/jaas.ts'

test.each<[string, string, Record<string, string>]>([
  ['as documented', 'a.B required username="alice" password="secret";', { username: 'alice', password: 'secret' }],
  ['over lines', '  a.B required\n  username="alice"\n\tpassword="s" ;\n', { username: 'alice', password: 's' }],
  ['in single quotes', `a.B required username='al"ice' password='s';`, { username: 'al"ice', password: 's' }],
  ['without quotes', 'a.B optional username=alice n=42;', { username: 'alice', n: '42' }],
  ['with what has to be escaped', String.raw`a.B REQUIRED p="a\"b\\c\td";`, { p: 'a"b\\c\td' }],
  ['with what ends a module elsewhere', 'a.B required p="a;b=c # d" q="";', { p: 'a;b=c # d', q: '' }],
  ['without options', 'a.B required;', {}]
])('%s', (_, text, options) => {
  const login = parseJaas(text)
  expect(login?.name).toBe('a.B')
  expect(Object.fromEntries(login!.options)).toEqual(options)
})

test.each([
  ['nothing', ''],
  ['no flag', 'a.B username="alice";'],
  ['no semicolon', 'a.B required username="alice"'],
  ['a quote that does not end', 'a.B required username="alice;'],
  ['a key without a value', 'a.B required username;'],
  ['two modules', 'a.B required x="1"; c.D required;'],
  ['a whole JAAS file', 'KafkaClient { a.B required x="1"; };']
])('%s is none', (_, text) => {
  expect(parseJaas(text)).toBeNull()
})
