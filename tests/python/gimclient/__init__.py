"""An independent client of gimlet, written only from the description of gim's wire protocol.

wire.py and messages.py implement protobuf, grpc_client.py implements gRPC, tcp.py and ws.py carry
packets, session.py is one signed-in connection, device.py is one device of one user. The package
uses neither the server's source nor its .proto files.
"""
