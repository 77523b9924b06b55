package io.github.pushsidecar.client;

import io.github.pushsidecar.xg.v1.PushRequest;
import io.github.pushsidecar.xg.v1.PushResponse;
import io.github.pushsidecar.xg.v1.PushServiceGrpc;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.ServerServiceDefinition;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.netty.shaded.io.netty.channel.ChannelOption;
import io.grpc.netty.shaded.io.netty.channel.EventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.MultiThreadIoEventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.epoll.EpollIoHandler;
import io.grpc.netty.shaded.io.netty.channel.epoll.EpollServerDomainSocketChannel;
import io.grpc.netty.shaded.io.netty.channel.nio.NioIoHandler;
import io.grpc.netty.shaded.io.netty.channel.socket.nio.NioServerSocketChannel;
import io.grpc.netty.shaded.io.netty.channel.unix.DomainSocketAddress;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;

/** A server on loopback or a unix socket that answers as a test says, and notes the calls that it got. */
public final class FakeSidecar implements AutoCloseable {
  /** One call. {@code number} counts from 1; {@code deadline} is the one that the server saw, or null. */
  public record Call(
      int number,
      PushRequest request,
      Deadline deadline,
      ServerCall<?, ?> transport,
      StreamObserver<PushResponse> reply) {

    void sendHeaders() {
      transport.sendHeaders(new Metadata());
    }

    /** Answers with push_id 42. */
    public void accept() {
      reply.onNext(PushResponse.newBuilder().setPushId("42").build());
      reply.onCompleted();
    }

    /** Answers with an error. */
    public void fail(RuntimeException error) {
      reply.onError(error);
    }
  }

  // Streaming on this side only: grpc-java holds back the headers of a unary call until its answer.
  private static final MethodDescriptor<PushRequest, PushResponse> PUSH =
      PushServiceGrpc.getPushMethod().toBuilder().setType(MethodDescriptor.MethodType.SERVER_STREAMING).build();

  // Of the methods that a later sidecar may have: nothing is promised about its headers.
  private static final String LATER = MethodDescriptor.generateFullMethodName(PushServiceGrpc.SERVICE_NAME, "Later");

  static final MethodDescriptor<PushRequest, PushResponse> LATER_METHOD =
      PushServiceGrpc.getPushMethod().toBuilder().setFullMethodName(LATER).setSchemaDescriptor(null).build();

  private static final Context.Key<ServerCall<?, ?>> TRANSPORT = Context.key("transport");

  private final List<Call> calls = new CopyOnWriteArrayList<>();
  private final Server server;
  private final EventLoopGroup loops;

  private FakeSidecar(NettyServerBuilder builder, EventLoopGroup loops, Consumer<Call> answer) throws IOException {
    ServerCallHandler<PushRequest, PushResponse> handler =
        ServerCalls.asyncServerStreamingCall(
            (request, reply) -> {
              Call call =
                  new Call(calls.size() + 1, request, Context.current().getDeadline(), TRANSPORT.get(), reply);
              calls.add(call);
              answer.accept(call);
            });
    this.loops = loops;
    this.server =
        builder
            .bossEventLoopGroup(loops)
            .workerEventLoopGroup(loops)
            .addService(
                ServerServiceDefinition.builder(PushServiceGrpc.SERVICE_NAME)
                    .addMethod(PUSH, handler)
                    .addMethod(PUSH.toBuilder().setFullMethodName(LATER).setSchemaDescriptor(null).build(), handler)
                    .build())
            .intercept(new KeepTransport())
            .build()
            .start();
  }

  /** Serves on a free port and answers every call in the given way. */
  public static FakeSidecar answering(Consumer<Call> answer) throws IOException {
    InetSocketAddress address = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
    NettyServerBuilder builder = NettyServerBuilder.forAddress(address).channelType(NioServerSocketChannel.class);
    return new FakeSidecar(builder, new MultiThreadIoEventLoopGroup(1, NioIoHandler.newFactory()), answer);
  }

  /** Serves on a unix socket and answers every call in the given way. */
  static FakeSidecar answeringOn(Path socket, Consumer<Call> answer) throws IOException {
    NettyServerBuilder builder =
        NettyServerBuilder.forAddress(new DomainSocketAddress(socket.toString()))
            .channelType(EpollServerDomainSocketChannel.class)
            .withChildOption(ChannelOption.SO_KEEPALIVE, null);
    return new FakeSidecar(builder, new MultiThreadIoEventLoopGroup(1, EpollIoHandler.newFactory()), answer);
  }

  /** Returns where it listens, as a target. */
  public String target() {
    return "127.0.0.1:" + server.getPort();
  }

  List<Call> calls() {
    return calls;
  }

  @Override
  public void close() {
    server.shutdownNow();
    try {
      server.awaitTermination();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    loops.shutdownGracefully();
  }

  private static final class KeepTransport implements ServerInterceptor {
    @Override
    public <ReqT, RespT> ServerCall.Listener<ReqT> interceptCall(
        ServerCall<ReqT, RespT> call, Metadata headers, ServerCallHandler<ReqT, RespT> next) {
      return Contexts.interceptCall(Context.current().withValue(TRANSPORT, call), call, headers, next);
    }
  }
}
