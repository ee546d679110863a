// The floor: a gRPC callback server that answers every Check with one constant, without reading it.
//
//   server HOST:PORT
//
// It registers the method by hand, as generated code does, so that neither protoc nor a .proto is needed.
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/support/server_callback.h>

#if __has_include(<grpcpp/impl/server_callback_handlers.h>)
#include <grpcpp/impl/server_callback_handlers.h>
#else  // gRPC before 1.54
#include <grpcpp/impl/codegen/server_callback_handlers.h>
#endif

#include <csignal>
#include <iostream>

namespace {

// CheckResponse { ok_response { headers { header { key: "x-checked" value: "true" } } } }
constexpr char kOk[] = "\x1a\x15\x12\x13\x0a\x11\x0a\x09x-checked\x12\x04true";

class Floor final : public grpc::Service {
 public:
  Floor() {
    AddMethod(new grpc::internal::RpcServiceMethod("/envoy.service.auth.v3.Authorization/Check",
                                                   grpc::internal::RpcMethod::NORMAL_RPC, nullptr));
    MarkMethodRawCallback(
        0, new grpc::internal::CallbackUnaryHandler<grpc::ByteBuffer, grpc::ByteBuffer>(
               [this](grpc::CallbackServerContext* context, const grpc::ByteBuffer*,
                      grpc::ByteBuffer* response) {
                 *response = answer_;
                 grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
                 reactor->Finish(grpc::Status::OK);
                 return reactor;
               }));
  }

 private:
  const grpc::Slice slice_{kOk, sizeof(kOk) - 1};
  const grpc::ByteBuffer answer_{&slice_, 1};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  Floor service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(argv[1], grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  builder.SetMaxReceiveMessageSize(9 << 20);
  auto server = builder.BuildAndStart();
  if (!server) return 1;
  std::signal(SIGTERM, [](int) { std::_Exit(0); });
  server->Wait();
}
