const { DynamoDBClient, GetItemCommand } = require("@aws-sdk/client-dynamodb");

const client = new DynamoDBClient({});

exports.handler = async (event) => {
  const key = { id: { S: event.pathParameters.id } };
  const { Item } = await client.send(new GetItemCommand({ TableName: process.env.TABLE, Key: key }));
  if (!Item) return { statusCode: 404, body: JSON.stringify({ message: "no such order" }) };
  return { statusCode: 200, body: JSON.stringify({ id: Item.id.S, total: Number(Item.total.N) }) };
};
