async def test_generate_and_get(client):
    made = await client.post("/key/generate", json={"alg": "ed25519"})
    key = await made.json()
    assert made.status == 200
    assert await (await client.get(f"/key/{key['kid']}")).json() == key
